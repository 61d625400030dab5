package jobtree

import (
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// scanAge is the age up to which a scan serves another sample.
const scanAge = 500 * time.Millisecond

// startAge is the age up to which a scan shows the processes of a job that this process
// started.
const startAge = 50 * time.Millisecond

// recent scans the processes unless the last scan is younger than scanAge.
func (s *forest) recent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	return s.scan(s.clock().Add(-scanAge))
}

// scan reads all processes of the host, unless the last pass did and began after
// notBefore.
func (s *forest) scan(notBefore time.Time) error {
	if s.whole && s.scanned.After(notBefore) {
		return s.scanErr
	}
	s.scanned, s.whole = s.clock(), true
	return s.pass(func() error { return s.host.Scan(s.visit) })
}

// refresh reads the processes that are known. Others may wait for the next scan.
func (s *forest) refresh() {
	err := s.scanErr
	s.pass(s.ask)
	s.scanErr = err
}

// ask reads the known processes that this pass has not seen. It returns the first error
// other than that a process has ended.
func (s *forest) ask() (err error) {
	s.pids = s.pids[:0]
	for pid, p := range s.procs {
		if p.generation != s.generation {
			s.pids = append(s.pids, pid)
		}
	}
	for _, pid := range s.pids {
		b, errno := s.scanner.Read(pid, "stat")
		if errno == 0 {
			s.visit(pid, b)
		} else if !process.Gone(errno) && err == nil {
			err = s.pathError(pid, "stat", errno)
		}
	}
	return err
}

// pass brings the forest up to date. show calls visit with each process.
func (s *forest) pass(show func() error) error {
	s.generation++
	s.strangers = s.strangers[:0]
	if s.reaper != nil {
		// Before anything else: a process that is reaped from here on is still seen
		// in its old place, or missed, but never counted twice.
		usage := childrenUsage()
		s.reaper.noteUnwaited(s.reaper.setReaped(&usage))
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
	// The own time of a process is read after all sums over ended children: a process
	// that still exists is in none of them.
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

// visit takes in a process of a scan.
func (s *forest) visit(pid int, stat []byte) {
	if len(s.procs) == 0 && s.reaper == nil || s.started != nil && s.started.excludes(pid) {
		return
	}
	p := s.procs[pid]
	st, ok := kernel.ParsePIDStat(stat)
	if !ok {
		if p != nil { // it exists; the next scan may read it
			p.generation = s.generation
		}
		return
	}
	if p != nil && p.start == st.Start {
		p.generation = s.generation
		p.noteUnwaited(p.setStat(&st))
		return
	}
	if p != nil { // the pid is another process's now
		s.vanished = append(s.vanished, p)
		delete(s.procs, pid)
	}
	if st.Start >= s.oldest {
		s.strangers = append(s.strangers, stranger{pid, st.PPID, st.Session, st.Start})
	}
}

// adopt finds the strangers that belong to a job.
func (s *forest) adopt() {
	for again := true; again; {
		again = false
		for i := range s.strangers {
			x := &s.strangers[i]
			if p := s.procs[x.pid]; x.pid == 0 || p != nil && p.start == x.start {
				continue
			}
			from := s.current(x.ppid, x.start)
			sessions := s.sessions[x.session]
			if from == nil && len(sessions) == 0 {
				continue
			}
			var trees []*tree
			if from != nil {
				trees = append(trees, from.trees...)
			}
			for _, t := range sessions {
				if !slices.Contains(trees, t) && s.leads(t, x) {
					trees = append(trees, t)
				}
			}
			if len(trees) > 0 {
				again = s.enter(x.pid, x.start, trees) || again
				x.pid = 0
			}
		}
	}
	s.strangers = slices.DeleteFunc(s.strangers, func(x stranger) bool { return x.pid == 0 })
}

// leads reports whether a root of the tree leads the stranger's session. The kernel does
// not reuse the number of a session while a process is in it, so a member that was in it
// before and still is proves that it is the same session.
func (s *forest) leads(t *tree, x *stranger) bool {
	for _, p := range t.members {
		if p.session == x.session && p.generation == s.generation && !p.adopted && p.start <= x.start {
			return true
		}
	}
	return false
}

// enter makes a process a member of trees. It returns false if the process has ended.
func (s *forest) enter(pid int, start uint64, trees []*tree) bool {
	st, err := s.stat(pid)
	if err != nil || st.Start != start {
		return false
	}
	p := &proc{pid: pid, start: start, generation: s.generation, adopted: true}
	p.setStat(&st)
	s.procs[pid] = p
	for _, t := range trees {
		s.join(p, t)
	}
	return true
}

// link finds the parent of a process.
func (s *forest) link(p *proc) {
	p.adopted = false
	p.parent = nil
	if q := s.current(p.ppid, p.start); q != p {
		p.parent = q
	}
}

// share makes processes that are known already members of jobs added since.
func (s *forest) share() {
	for again := true; again; {
		again = false
		for _, p := range s.procs {
			if p.parent == nil || p.parent == s.reaper {
				continue
			}
			for _, t := range p.parent.trees {
				if !p.member(t) {
					s.join(p, t)
					again = true
				}
			}
		}
	}
}

// forget removes the processes that vanished.
func (s *forest) forget() {
	bury(s.vanished)
	now := s.clock()
	for _, p := range s.vanished {
		s.closeIO(p)
		if s.procs[p.pid] == p {
			delete(s.procs, p.pid)
		}
		for _, t := range p.trees {
			if i, ok := slices.BinarySearchFunc(t.members, p, older); ok {
				t.members = slices.Delete(t.members, i, i+1)
			}
			t.checkEnd(now)
		}
	}
	clear(s.vanished)
	s.vanished = s.vanished[:0]
}
