package jobtree

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// lookTime bounds how long a sample waits for a look. Reading the command line of a
// process that hangs in the kernel may block for ever, so a look runs in a goroutine of
// its own and without the lock.
const lookTime = 2 * time.Second

var errLookHangs = errors.New("procinfo: services are not looked for: the command line or the pid file of a process cannot be read")

// lookBefore looks for the processes of services before a sample of the job, unless the
// last look is recent.
func (j *Job) lookBefore() {
	s := j.set
	// Computed once: on a slow host a look may take longer than it counts as recent.
	s.mu.Lock()
	notBefore := j.notBefore()
	s.mu.Unlock()
	for {
		s.mu.Lock()
		l := s.look
		if s.closed || j.removed || l != nil && l.isDone() && slices.Contains(l.jobs, j) && !l.began.Before(notBefore) {
			s.mu.Unlock()
			return
		}
		if l == nil || l.isDone() {
			late := make(chan struct{})
			l = &serviceLook{began: s.clock(), jobs: slices.Clone(s.services), late: late, done: make(chan struct{})}
			l.boot, _ = s.boot()
			s.look = l
			timer := time.AfterFunc(lookTime, func() { close(late) })
			go func() {
				defer timer.Stop()
				s.lookOnce(l)
			}()
		}
		s.mu.Unlock()
		select {
		case <-l.done:
		case <-l.late:
			s.mu.Lock()
			j.service.err = errLookHangs
			s.mu.Unlock()
			return
		case <-s.closing:
			return
		}
	}
}

// identity identifies a process.
type identity struct {
	pid   int
	start uint64
}

// lookOnce looks for the processes of all services.
func (s *Set) lookOnce(l *serviceLook) {
	found, errs := make([][]identity, len(l.jobs)), make([]error, len(l.jobs))
	f := s.finder
	err := f.Open()
	lines := false
	for i, j := range l.jobs {
		o := &j.options
		lines = lines || o.Service.Match != nil
		pids := o.PIDs
		if o.Service.PIDs != nil {
			var more []int
			if more, errs[i] = o.Service.PIDs(); len(more) > 0 {
				pids = append(slices.Clone(pids), more...)
			}
		}
		for _, pid := range pids {
			switch st, e := f.Process(pid); {
			case e == nil && !st.Dead():
				found[i] = append(found[i], identity{pid, st.Start})
			case e != nil && !process.Gone(e):
				errs[i] = errors.Join(errs[i], fmt.Errorf("procinfo: %w", e))
			}
		}
	}
	if lines && err == nil {
		err = match(f, l.jobs, found)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.Close()
	} else {
		for i, j := range l.jobs {
			if j.removed {
				continue
			}
			j.service.err = errors.Join(errs[i], err)
			if err == nil {
				s.setRoots(j, found[i], l)
			}
		}
	}
	close(l.done)
}

// maxCmdline bounds the part of a command line that is read, in bytes.
const maxCmdline = 64 << 10

// match shows all command lines to the services, and appends the processes that match.
func match(s *process.Scanner, jobs []*Job, found [][]identity) error {
	buf := make([]byte, maxCmdline)
	return s.Each(func(pid int) {
		args := kernel.ParseCmdline(s.Cmdline(pid, buf))
		var start uint64
		for i, j := range jobs {
			match := j.options.Service.Match
			if match == nil || len(args) == 0 || !match(pid, args) {
				continue
			}
			if start == 0 {
				st, err := s.Process(pid)
				if err != nil || st.Dead() {
					return
				}
				start = st.Start
				// The first line may have been another process's with this pid.
				if args = kernel.ParseCmdline(s.Cmdline(pid, buf)); len(args) == 0 || !match(pid, args) {
					continue
				}
			}
			found[i] = append(found[i], identity{pid, start})
		}
	})
}

// setRoots makes the processes that a look found the roots of a service.
func (s *Set) setRoots(j *Job, found []identity, l *serviceLook) {
	v := &j.service
	var roots, joined []*proc
	for _, id := range found {
		if slices.Contains(j.options.PIDs, id.pid) {
			if start, ok := v.known[id.pid]; ok && start != id.start {
				continue // the pid is another process's now
			}
			if v.known == nil {
				v.known = map[int]uint64{}
			}
			v.known[id.pid] = id.start
		}
		if p := s.procs[id.pid]; p != nil && p.start == id.start && slices.Contains(j.roots, p) {
			if p.alive() {
				roots = append(roots, p)
			}
			continue
		}
		st, err := s.stat(id.pid)
		if err != nil || st.Start != id.start || st.Dead() {
			continue
		}
		p := s.addRoot(&j.tree, id.pid, &st, false)
		if v.ever && process.TicksSinceBoot(p.start) < v.looked-process.Tick {
			// It existed before, and did not match. The job may have counted some
			// of the counters of its children already.
			for i := range p.taken {
				j.baseline[i] += min(p.taken[i], max(0, j.gone[i]-j.baseline[i]))
			}
		}
		roots, joined = append(roots, p), append(joined, p)
	}
	survived := slices.ContainsFunc(j.roots, func(p *proc) bool {
		return !slices.Contains(joined, p) && (slices.Contains(roots, p) || p.alive() && !s.isGone(p))
	})
	now := s.clock()
	switch {
	case len(roots) == 0:
		if !j.hasEnd {
			j.hasEnd, j.end = true, now
		}
	case v.up && (survived || v.unseen || j.overlap(roots, now)):
		j.hasEnd, j.over = false, false
	default:
		if v.ever {
			v.restarts++
		}
		v.cpuBefore = j.last[cntCPU]
		j.start = process.TicksSinceBoot(slices.MinFunc(roots, older).start)
		j.hasEnd, j.over, j.ran = false, false, procinfo.Value{}
		if !j.cgroup.given {
			j.cgroup = jobCgroup{}
		}
	}
	v.up, v.ever, v.unseen = len(roots) > 0, v.ever || len(roots) > 0, false
	v.looked = l.boot
	j.roots = roots
	s.dropSessions(&j.tree)
	if len(joined) > 0 {
		s.grown = true
		s.scanned = time.Time{} // a new scan finds their descendants
		s.exits.watch(&s.forest, &j.tree, joined, true)
	}
}

// overlap reports whether one of these processes existed when the last root before them
// ended. Start times are rounded down to ticks.
func (j *Job) overlap(roots []*proc, now time.Time) bool {
	boot, ok := j.set.boot()
	if !ok || !j.hasEnd {
		return false
	}
	end := boot - now.Sub(j.end)
	return process.TicksSinceBoot(slices.MinFunc(roots, older).start) < end-2*process.Tick
}

// endLookInterval is the least time between two looks because all roots of a service
// have ended. If all its processes are short-lived, that may happen all the time.
const endLookInterval = time.Second

// lookAtEnd looks for new roots when all roots of a service have ended, and calls Exited
// if there are none.
func (j *Job) lookAtEnd() {
	s := j.set
	s.mu.Lock()
	v, now := &j.service, s.clock()
	if v.unseen = now.Sub(v.endLook) < endLookInterval; !v.unseen {
		v.endLook = now
	}
	unseen := v.unseen
	s.mu.Unlock()
	if unseen {
		return
	}
	j.lookBefore()
	s.mu.Lock()
	down := j.hasEnd && !v.up && !j.removed && !s.closed
	s.mu.Unlock()
	if f := j.options.Exited; down && f != nil {
		f()
	}
}
