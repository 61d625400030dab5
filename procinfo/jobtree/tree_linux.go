package jobtree

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/causes"
	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// The counters of a process. A scan of /proc reads those before treeCounters, a sample
// of the job the others.
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

// slack is the rounding error of the kernel's sums over ended children: it rounds user
// and system time down to ticks.
var slack = counters{cntCPU: int64(2 * process.Tick), cntSystem: int64(3 * process.Tick)}

// A proc is a process of some job, or this process, as the one that reaps the
// processes of a job that it started.
//
// The kernel adds the counters of a child to those of its parent when the parent waits
// for it, and to no process when the parent ignores SIGCHLD. So there are two sources
// for the counters that a process took over from its children: the kernel's number c,
// which includes children that no scan ever saw, and the last counters seen of children
// that vanished. taken is the larger of the two over each interval:
//
//	taken = max(c + lost, base + seen)
//
// where base is taken at the last time when all the children were known to be alive,
// and seen is the sum over the children that vanished since. If c, read after they
// vanished, is lower than that, no process waited for them: the kernel lost the
// difference, which is added to c from then on.
type proc struct {
	pid, ppid, session int
	start              uint64  // ticks since boot
	parent             *proc   // nil if it belongs to no job
	trees              []*tree // those it is a member of
	branch             *proc   // the child of a root that it is or was below; nil for none
	branchCPU          int64   // ns, of the branch that it is the top of, at the last sample
	generation         uint64  // of the pass that saw it last
	round              uint64  // of walks: the last one that saw it
	dead               bool    // it was reaped
	dying              bool    // this scan has just noticed
	inside             uint64  // the scan in which it was seen in the job's cgroup
	zombie             bool    // it has ended: its counters are final
	ended              bool    // its pidfd reports that it has ended
	adopted            bool    // by the scan under way

	own, c, lost, taken, base, seen counters

	// io is the io file of a root, opened while the root was alive: once it has
	// ended, only the superuser may open it.
	io *os.File

	threads, vsize       uint64 // vsize in bytes
	rss, peakRSS, swap   uint64 // KiB
	files                uint64
	ioKnown, csKnown     bool // they were read last time
	filesKnown           bool
	noSwap               bool // the kernel does not report it
	fading               bool // it was gone when its details were to be read
	ignoresSIGCHLD       bool
	threadCS             []threadSwitches // sorted by tid
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
func (p *proc) member(t *tree) bool { return slices.Contains(p.trees, t) }

// older orders processes so that parents come before their children.
func older(p, q *proc) int {
	if c := cmp.Compare(p.start, q.start); c != 0 {
		return c
	}
	return cmp.Compare(p.pid, q.pid)
}

// total returns all counters of a process: its own and those it took over.
func (p *proc) total() (sum counters) {
	for i := range sum {
		sum[i] = p.own[i] + p.taken[i]
	}
	return sum
}

// tookOver notes the kernel's number of a counter that the process took over. It
// reports whether the number lacks children that were seen.
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

// inherit adds the counters of children that vanished.
func (p *proc) inherit(seen *counters) {
	for i := range p.taken {
		p.seen[i] += seen[i]
		p.taken[i] = max(p.c[i]+p.lost[i], p.base[i]+p.seen[i])
	}
}

// settle starts a new interval: all children that are alive now were alive when these
// counters were read.
func (p *proc) settle(from, to int) {
	for i := from; i < to; i++ {
		p.base[i], p.seen[i] = p.taken[i], 0
	}
}

// surplus returns how much more the process took over than was seen of its children.
func (p *proc) surplus(i int) int64 {
	return max(0, p.c[i]+p.lost[i]-p.base[i]-p.seen[i])
}

// setStat takes the values of a stat file. It reports whether the kernel's sum over the
// children lacks some that were seen.
func (p *proc) setStat(s *kernel.PIDStat) (lost bool) {
	p.ppid, p.session, p.zombie = s.PPID, s.Session, s.Dead()
	p.threads, p.vsize = s.Threads, s.VSize
	p.rss = s.RSS * uint64(os.Getpagesize()) / 1024 // until the status file is read, which is exact
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

// setCPU takes the process's own CPU time in ns, and divides it into user and system
// time in the ratio of the ticks.
func (p *proc) setCPU(cpu int64) {
	p.own[cntCPU] = max(p.own[cntCPU], cpu)
	if p.ticked > 0 {
		system := float64(p.own[cntCPU]) * (float64(p.stime) / float64(p.ticked))
		p.own[cntSystem] = max(p.own[cntSystem], int64(system))
	}
}

// setIO takes the values of an io file, which include the children that were waited
// for.
func (p *proc) setIO(io *kernel.PIDIO) {
	for i, c := range [...]kernel.Count{io.RChar, io.WChar, io.Read, io.Written} {
		if c.OK && c.N < 1<<62 {
			p.tookOver(cntRChar+i, int64(c.N))
		} else {
			p.ioKnown = false
		}
	}
}

// setStatus takes the values of a status file that apply to the whole process.
func (p *proc) setStatus(st *kernel.Status) {
	// The stat file of current kernels lags, and is up to some 100 KiB too low for
	// each process: see docs/jobs.md.
	if st.RSS.OK {
		p.rss = st.RSS.N
	}
	p.swap, p.noSwap = st.Swap.N, st.RSS.OK && !st.Swap.OK
	p.peakRSS = max(p.peakRSS, st.PeakRSS.N)
	p.ignoresSIGCHLD = p.ignoresSIGCHLD || st.SigIgn.N&(1<<(syscall.SIGCHLD-1)) != 0
}

// setSwitches takes the context switches of the living threads, sorted by tid. No file
// has those of threads that have ended, so their last known values are kept.
func (p *proc) setSwitches(now []threadSwitches) {
	i := 0
	for _, old := range p.threadCS {
		for i < len(now) && now[i].tid < old.tid {
			i++
		}
		if i == len(now) || now[i].tid != old.tid || now[i].n[0] < old.n[0] || now[i].n[1] < old.n[1] {
			p.goneCS[0] += old.n[0]
			p.goneCS[1] += old.n[1]
		}
	}
	p.threadCS = append(p.threadCS[:0], now...)
	sum := p.goneCS
	for _, t := range now {
		sum[0] += t.n[0]
		sum[1] += t.n[1]
	}
	p.own[cntVoluntary] = max(p.own[cntVoluntary], int64(sum[0]))
	p.own[cntNonvoluntary] = max(p.own[cntNonvoluntary], int64(sum[1]))
}

// setReaped takes the counters that this process took over from its children.
func (p *proc) setReaped(usage *counters) (lost bool) {
	for i, c := range usage {
		if i >= cntRChar && i <= cntWritten {
			continue // getrusage(2) has no such counter
		}
		if l := p.tookOver(i, c); l && i == cntCPU {
			lost = true
		}
	}
	return lost
}

// childrenUsage returns the counters of the children that this process waited for,
// their own children included. See getrusage(2).
func childrenUsage() (c counters) {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ru) != nil {
		return c
	}
	c[cntCPU] = ru.Utime.Nano() + ru.Stime.Nano()
	c[cntSystem] = ru.Stime.Nano()
	c[cntMinFlt], c[cntMajFlt] = int64(ru.Minflt), int64(ru.Majflt)
	c[cntVoluntary], c[cntNonvoluntary] = int64(ru.Nvcsw), int64(ru.Nivcsw)
	return c
}

// maxDepth bounds the way up the tree, in case an inconsistent /proc makes a circle.
const maxDepth = 1 << 15

// bury adds the counters of vanished processes to the processes that reaped them, or to
// their jobs.
func bury(vanished []*proc) {
	// Children before parents: the counters of a parent include those it took over.
	slices.SortFunc(vanished, func(p, q *proc) int { return older(q, p) })
	for _, p := range vanished {
		p.dying = true
	}
	// If a parent and its child vanished in the same interval, it is not known which
	// was first. If it was the parent, the child's time is not with the parent's
	// parent, but with the next ancestor that is a subreaper.
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
		for _, t := range p.trees {
			if to == nil || !to.member(t) {
				t.gone.add(&total)
				t.unheired = t.unheired || !p.zombie
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
			if a.dead || a.dying || !sameTrees(a, in.to) {
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

// sameTrees reports whether p belongs to all trees of q.
func sameTrees(p, q *proc) bool {
	for _, t := range q.trees {
		if !p.member(t) {
			return false
		}
	}
	return true
}

// A tree is the processes of a job, and the counters of those that have ended.
type tree struct {
	roots   []*proc
	led     []int   // sessions that a root leads or has led
	members []*proc // parents before children
	exclude []int   // children of this process that are not the job's

	start      time.Duration // since boot
	startGiven bool
	removed    bool
	hasEnd     bool                // all roots have ended
	end        time.Time           // when that was noticed
	exit       *syscall.WaitStatus // of the only root, nil if it is unknown
	ended      func()              // called once all roots have ended, if not nil; must not block

	gone     counters // of members that vanished and that no member waited for
	baseline counters // counters that do not belong to the job
	last     counters // of the last sample: no counter decreases
	unheired bool     // a process that no member waited for vanished before its end was seen
	unwaited bool     // a member has ended children that it did not wait for
	ignored  bool     // a member ignored SIGCHLD
	strayed  bool     // a member left the job's own cgroup
	total    uint64   // processes ever seen

	errs causes.Once
}

// alive reports whether a process of the tree has not ended.
func (t *tree) alive() bool {
	return slices.ContainsFunc(t.members, func(p *proc) bool { return !p.zombie && !p.ended })
}

// setEnd notes that all roots have ended.
func (t *tree) setEnd(now time.Time) {
	t.hasEnd, t.end = true, now
	if t.ended != nil {
		t.ended()
	}
}

// checkEnd notes if all roots have ended.
func (t *tree) checkEnd(now time.Time) {
	if t.hasEnd || len(t.roots) == 0 || slices.ContainsFunc(t.roots, (*proc).alive) {
		return
	}
	t.setEnd(now)
}

// fail keeps an error for the report on the next sample, unless a file is merely
// missing or the cause was reported before. The cause is the system's error and the name
// of the file in the directory of the process, or, if name is empty, the whole error.
func (t *tree) fail(name string, err error) {
	if err == nil || process.Gone(err) {
		return
	}
	cause := ""
	if e := (*fs.PathError)(nil); name != "" && errors.As(err, &e) {
		cause = name + ": " + e.Err.Error()
	}
	t.errs.Add(cause, err)
}
