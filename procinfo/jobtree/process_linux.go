package jobtree

import (
	"cmp"
	"os"
	"slices"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// The counters of a process. Those before treeCounters come with each scan of
// /proc, the others with the details of a sample.
const (
	cntCPU    = iota // ns
	cntSystem        // ns, part of cntCPU
	cntMinFlt
	cntMajFlt
	cntRChar
	cntWChar
	cntRead
	cntWritten
	cntVoluntary
	cntNonvoluntary
	nCounters

	treeCounters = cntRChar
)

type counters [nCounters]int64

func (c *counters) add(d *counters) {
	for i := range c {
		c[i] += d[i]
	}
}

// slack is by how much what a process is known to have taken over from its
// children may exceed what the kernel says: there CPU time is cut down to ticks,
// user and system apart.
var slack = counters{cntCPU: int64(2 * process.Tick), cntSystem: int64(3 * process.Tick)}

// A proc is a process of some job, or the process we are in, as the one that
// reaps what a job that it started leaves.
//
// The kernel adds the counters of a child to its parent's when the parent waits
// for it, and to nobody's when the parent ignores SIGCHLD. What a process took
// over is therefore told by two sources: the kernel's number c, which holds
// children that no scan ever saw, and what was seen of children before they
// vanished. taken is the larger of the two over each interval:
//
//	taken = max(c + lost, base + seen)
//
// where base is taken at the last time when all the children were known to be
// alive, and seen what was seen of those that vanished since. If c, read after
// they vanished, has not come up to that, they were never waited for: the rest
// is lost to the kernel, and added to it from then on.
type proc struct {
	pid, ppid, session int
	start              uint64 // ticks since boot
	parent             *proc  // nil where it is of no job
	jobs               []*Job // those it is a member of
	generation         uint64 // of the scan that saw it last
	dead               bool   // it was reaped
	dying              bool   // this scan has just noticed
	inside             uint64 // the scan with which it was seen in the job's cgroup
	zombie             bool   // it has ended: what it used is final
	ended              bool   // it has ended, as its pidfd says
	adopted            bool   // by the scan under way

	own, c, lost, taken, base, seen counters

	// io is the io file of a root, opened while it lived: when it has ended,
	// only the superuser may open it.
	io *os.File

	threads, vsize       uint64 // vsize in bytes
	rss, peakRSS         uint64 // KiB
	files                uint64
	ioKnown, csKnown     bool // could be read last time
	filesKnown           bool
	fading               bool // it was gone when its details were to be read
	ignoresSIGCHLD       bool
	threadCS             []threadSwitches // where it has several
	goneCS               [2]uint64        // of threads that have ended
	utime, stime, ticked uint64           // clock ticks; ticked is their sum
}

// threadSwitches are the context switches of a thread.
type threadSwitches struct {
	tid int
	n   [2]uint64 // voluntary, nonvoluntary
}

// alive reports whether the process is not known to have ended.
func (p *proc) alive() bool { return !p.dead && !p.zombie && !p.ended }

// member reports whether the process belongs to a job.
func (p *proc) member(j *Job) bool { return slices.Contains(p.jobs, j) }

// older orders processes so that parents come before their children.
func older(p, q *proc) int {
	if c := cmp.Compare(p.start, q.start); c != 0 {
		return c
	}
	return cmp.Compare(p.pid, q.pid)
}

// total returns all that is known of a process: its own and what it took over.
func (p *proc) total() (sum counters) {
	for i := range sum {
		sum[i] = p.own[i] + p.taken[i]
	}
	return sum
}

// tookOver notes the kernel's number of what the process took over. It reports
// whether children turn out to have gone lost.
func (p *proc) tookOver(i int, c int64) (lost bool) {
	c = max(c, p.c[i])
	if gap := p.taken[i] - (c + p.lost[i]); gap > slack[i] {
		p.lost[i] += gap - slack[i]
		lost = true
	}
	p.c[i] = c
	p.taken[i] = max(c+p.lost[i], p.base[i]+p.seen[i])
	return lost
}

// inherit adds what was seen of children that vanished.
func (p *proc) inherit(seen *counters) {
	for i := range p.taken {
		p.seen[i] += seen[i]
		p.taken[i] = max(p.c[i]+p.lost[i], p.base[i]+p.seen[i])
	}
}

// settle starts a new interval: all children now alive were so when these
// counters had been read.
func (p *proc) settle(from, to int) {
	for i := from; i < to; i++ {
		p.base[i], p.seen[i] = p.taken[i], 0
	}
}

// surplus is what the process took over beyond what was seen of its children.
func (p *proc) surplus(i int) int64 {
	return max(0, p.c[i]+p.lost[i]-p.base[i]-p.seen[i])
}

// setStat notes what a stat file tells. It reports whether children turn out to
// have gone lost.
func (p *proc) setStat(s *kernel.PIDStat) (lost bool) {
	p.ppid, p.session, p.zombie = s.PPID, s.Session, s.Dead()
	p.threads, p.vsize = s.Threads, s.VSize
	p.rss = s.RSS * uint64(os.Getpagesize()) / 1024 // until its status has been read
	p.utime, p.stime, p.ticked = s.UTime, s.STime, s.UTime+s.STime
	p.setCPU(process.Nanoseconds(p.ticked))
	p.own[cntMinFlt] = max(p.own[cntMinFlt], int64(s.MinFlt))
	p.own[cntMajFlt] = max(p.own[cntMajFlt], int64(s.MajFlt))
	lost = p.tookOver(cntCPU, process.Nanoseconds(s.CUTime+s.CSTime))
	p.tookOver(cntSystem, process.Nanoseconds(s.CSTime))
	p.tookOver(cntMinFlt, int64(s.CMinFlt))
	p.tookOver(cntMajFlt, int64(s.CMajFlt))
	return lost
}

// setCPU notes the process's own CPU time in ns, shared out by its ticks.
func (p *proc) setCPU(cpu int64) {
	p.own[cntCPU] = max(p.own[cntCPU], cpu)
	if p.ticked > 0 {
		system := float64(p.own[cntCPU]) * (float64(p.stime) / float64(p.ticked))
		p.own[cntSystem] = max(p.own[cntSystem], int64(system))
	}
}

// setIO notes an io file: what a process took over is already in it.
func (p *proc) setIO(io *kernel.PIDIO) {
	for i, c := range [...]kernel.Count{io.RChar, io.WChar, io.Read, io.Written} {
		if c.OK && c.N < 1<<62 {
			p.tookOver(cntRChar+i, int64(c.N))
		} else {
			p.ioKnown = false
		}
	}
}

// maxDepth ends the way up a tree that has no root, in a /proc that lies.
const maxDepth = 1 << 15

// bury hands what vanished processes leave to those who reaped them, or to
// their jobs.
func bury(vanished []*proc) {
	// Children before parents: what a parent took over goes with it.
	slices.SortFunc(vanished, func(p, q *proc) int { return older(q, p) })
	for _, p := range vanished {
		p.dying = true
	}
	// Where parent and child vanished in one interval it is not known which
	// was the first. If it was the parent, not the parent's parent has the
	// child's time, but the next ancestor that is a subreaper.
	type inheritance struct {
		to    *proc
		loose counters
	}
	var second []inheritance
	loose := map[*proc]*counters{}
	for _, p := range vanished {
		total := p.total()
		to := p.parent
		for n := 0; to != nil && to.dead; n++ {
			if to = to.parent; n > maxDepth {
				to = nil
			}
		}
		for _, j := range p.jobs {
			if to == nil || !to.member(j) {
				j.gone.add(&total)
				j.unheired = j.unheired || !p.zombie
			}
		}
		if to == nil {
			continue
		}
		if to.dying {
			before := to.taken
			to.inherit(&total)
			l := loose[to]
			if l == nil {
				l = new(counters)
				loose[to] = l
			}
			for i := range l {
				l[i] += to.taken[i] - before[i]
			}
			continue
		}
		if l := loose[p]; l != nil {
			for i := range total {
				total[i] -= l[i]
			}
			second = append(second, inheritance{to, *l})
		}
		to.inherit(&total)
	}
	for _, in := range second {
		n := 0
		for a := in.to.parent; a != nil && n < maxDepth; a = a.parent {
			n++
			if a.dead || a.dying || !sameJobs(a, in.to) {
				continue
			}
			for i := range in.loose {
				s := min(in.loose[i], a.surplus(i))
				a.seen[i] += s
				in.loose[i] -= s
			}
		}
		in.to.inherit(&in.loose)
	}
	for _, p := range vanished {
		p.dying, p.dead = false, true
	}
}

// sameJobs reports whether p belongs to all jobs of q.
func sameJobs(p, q *proc) bool {
	for _, j := range q.jobs {
		if !p.member(j) {
			return false
		}
	}
	return true
}
