package jobtree

import (
	"slices"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// stranger is a process of which it is not known (yet) whose it is.
type stranger struct {
	pid, ppid, session int
	start              uint64
}

// scanAge is how old a scan may be to serve another sample.
const scanAge = 500 * time.Millisecond

// startAge is how old a scan may be to show who is there of a job that this
// process has started.
const startAge = 50 * time.Millisecond

// join makes a process a member of a job.
func (s *Set) join(p *proc, j *Job) {
	if p.member(j) {
		return
	}
	p.jobs = append(p.jobs, j)
	i, _ := slices.BinarySearchFunc(j.members, p, older)
	j.members = slices.Insert(j.members, i, p)
	j.total++
	if len(s.procs) == 1 || p.start < s.oldest {
		s.oldest = p.start
	}
}

// leave makes a process no member of a job any more.
func (s *Set) leave(p *proc, j *Job) {
	p.jobs = slices.DeleteFunc(p.jobs, func(k *Job) bool { return k == j })
	if len(p.jobs) == 0 {
		s.closeIO(p)
		if s.procs[p.pid] == p {
			delete(s.procs, p.pid)
		}
	}
}

// recent scans the processes unless that was done a moment ago.
func (s *Set) recent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errJobsClosed
	}
	return s.scan(s.clock().Add(-scanAge))
}

// scan looks at all processes of the host, unless that was done after notBefore.
func (s *Set) scan(notBefore time.Time) error {
	if s.generation > 0 && s.scanned.After(notBefore) {
		return s.scanErr
	}
	s.scanned = s.clock()
	return s.pass(func() error { return s.host.Scan(s.visit) })
}

// refresh looks at the processes that are known. Whatever else there is may wait
// for the next scan.
func (s *Set) refresh() {
	err := s.scanErr
	s.pass(func() error {
		s.pids = s.pids[:0]
		for pid := range s.procs {
			s.pids = append(s.pids, pid)
		}
		for _, pid := range s.pids {
			if b, errno := s.scanner.Read(pid, "stat"); errno == 0 {
				s.visit(pid, b)
			}
		}
		return nil
	})
	s.scanErr = err
}

// pass takes in what visit is shown of the processes.
func (s *Set) pass(show func() error) error {
	s.generation++
	s.strangers = s.strangers[:0]
	if s.reaper != nil {
		// Before anything else: what is reaped from here on is still seen
		// as it was, or missed, but never counted twice.
		usage := childrenUsage()
		s.unwaited(s.reaper, s.reaper.setReaped(&usage))
	}
	if boot, ok := s.boot(); ok {
		s.scanTick = uint64(boot / process.Tick)
	}
	s.scanErr = show()
	s.adopt()
	for _, p := range s.procs {
		if p.generation == s.generation {
			s.link(p)
		}
	}
	if s.grown {
		s.share()
		s.grown = false
	}
	// The process's own time is read when all numbers of what was taken over
	// have been: whoever is still there cannot be in one of them.
	complete := true
	for _, p := range s.procs {
		switch {
		case p.generation == s.generation:
			if !s.readClock(p) {
				s.vanished = append(s.vanished, p)
			}
		case s.scanErr == nil || s.isGone(p):
			s.vanished = append(s.vanished, p)
		default:
			complete = false
		}
	}
	if len(s.vanished) > 0 {
		s.forget()
	}
	if complete {
		for _, p := range s.procs {
			p.settle(0, treeCounters)
		}
		if s.reaper != nil {
			s.reaper.settle(0, treeCounters)
		}
	}
	return s.scanErr
}

// visit is given every process of a scan.
func (s *Set) visit(pid int, stat []byte) {
	if len(s.procs) == 0 && s.reaper == nil || s.started != nil && slices.Contains(s.started.options.Not, pid) {
		return
	}
	p := s.procs[pid]
	st, ok := kernel.ParsePIDStat(stat)
	if !ok {
		if p != nil { // something is there: what, the next scan may tell
			p.generation = s.generation
		}
		return
	}
	if p != nil && p.start == st.Start {
		p.generation = s.generation
		s.unwaited(p, p.setStat(&st))
		return
	}
	if p != nil { // the pid is another's now
		s.vanished = append(s.vanished, p)
		delete(s.procs, pid)
	}
	if st.Start >= s.oldest {
		s.strangers = append(s.strangers, stranger{pid, st.PPID, st.Session, st.Start})
	}
}

// unwaited notes that children of a process were waited for by nobody.
func (s *Set) unwaited(p *proc, lost bool) {
	if lost {
		for _, j := range p.jobs {
			j.unwaited = true
		}
	}
}

// adopt finds the strangers that belong to jobs.
func (s *Set) adopt() {
	for again := true; again; {
		again = false
		for i := range s.strangers {
			x := &s.strangers[i]
			if x.pid == 0 {
				continue
			}
			from := s.current(x.ppid, x.start)
			sessions := s.sessions[x.session]
			if from == nil && len(sessions) == 0 {
				continue
			}
			var jobs []*Job
			if from != nil {
				jobs = append(jobs, from.jobs...)
			}
			for _, j := range sessions {
				if !slices.Contains(jobs, j) && s.leads(j, x) {
					jobs = append(jobs, j)
				}
			}
			if len(jobs) > 0 {
				again = s.enter(x.pid, x.start, jobs) || again
				x.pid = 0
			}
		}
	}
}

// current returns the process with this pid as this scan saw it, if it may be
// the parent of one that started then: it is of some job, and not younger.
func (s *Set) current(pid int, start uint64) *proc {
	if s.reaper != nil && pid == s.self && len(s.started.roots) > 0 && start >= s.started.roots[0].start {
		return s.reaper
	}
	if p := s.procs[pid]; p != nil && p.generation == s.generation && p.start <= start {
		return p
	}
	return nil
}

// leads reports whether a root of the job leads the stranger's session. While
// there is anyone in a session its number is not given away; a member that was
// in it before and still is shows that it is the same.
func (s *Set) leads(j *Job, x *stranger) bool {
	for _, p := range j.members {
		if p.session == x.session && p.generation == s.generation && !p.adopted && p.start <= x.start {
			return true
		}
	}
	return false
}

// enter makes a process a member of jobs, unless it is gone or another.
func (s *Set) enter(pid int, start uint64, jobs []*Job) bool {
	st, err := s.stat(pid)
	if err != nil || st.Start != start {
		return false
	}
	p := &proc{pid: pid, start: start, generation: s.generation, adopted: true}
	p.setStat(&st)
	s.procs[pid] = p
	for _, j := range jobs {
		s.join(p, j)
	}
	return true
}

// link finds the parent of a process.
func (s *Set) link(p *proc) {
	p.adopted = false
	p.parent = nil
	if q := s.current(p.ppid, p.start); q != p {
		p.parent = q
	}
}

// share makes processes that jobs know already members of those added since.
func (s *Set) share() {
	for again := true; again; {
		again = false
		for _, p := range s.procs {
			if p.parent == nil || p.parent == s.reaper {
				continue
			}
			for _, j := range p.parent.jobs {
				if !p.member(j) {
					s.join(p, j)
					again = true
				}
			}
		}
	}
}

// isGone reports whether a process that a scan did not see is surely gone.
func (s *Set) isGone(p *proc) bool {
	b, errno := s.scanner.Read(p.pid, "stat")
	if errno != 0 {
		return process.Gone(errno)
	}
	st, ok := kernel.ParsePIDStat(b)
	return ok && st.Start != p.start
}

// forget buries the vanished.
func (s *Set) forget() {
	bury(s.vanished)
	now := s.clock()
	for _, p := range s.vanished {
		s.closeIO(p)
		if s.procs[p.pid] == p {
			delete(s.procs, p.pid)
		}
		for _, j := range p.jobs {
			if i, ok := slices.BinarySearchFunc(j.members, p, older); ok {
				j.members = slices.Delete(j.members, i, i+1)
			}
			s.checkEnd(j, now)
		}
	}
	clear(s.vanished)
	s.vanished = s.vanished[:0]
}

// checkEnd notes when all roots of a job have ended.
func (s *Set) checkEnd(j *Job, now time.Time) {
	if j.hasEnd || len(j.roots) == 0 {
		return
	}
	for _, p := range j.roots {
		if !p.dead && !p.zombie && !p.ended {
			return
		}
	}
	j.hasEnd, j.end = true, now
	s.exits.ended(j)
}

// readClock reads the CPU time of a process. It reports whether it is there.
func (s *Set) readClock(p *proc) bool {
	if s.own {
		cpu, ok := process.CPUClock(p.pid)
		if ok {
			p.setCPU(cpu)
		}
		return ok
	}
	st, err := s.stat(p.pid)
	if err != nil {
		return !process.Gone(err)
	}
	if st.Start != p.start {
		return false
	}
	p.utime, p.stime, p.ticked = st.UTime, st.STime, st.UTime+st.STime
	p.setCPU(process.Nanoseconds(p.ticked))
	return true
}

// setReaped notes what this process took over from its children.
func (p *proc) setReaped(usage *counters) (lost bool) {
	for i, c := range usage {
		if i >= cntRChar && i <= cntWritten {
			continue // getrusage(2) does not tell
		}
		if l := p.tookOver(i, c); l && i == cntCPU {
			lost = true
		}
	}
	return lost
}

// childrenUsage returns what the children that this process waited for have
// used, with theirs.
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
