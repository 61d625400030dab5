package procinfo

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

// serviceState is the state of a job that is a service.
type serviceState struct {
	up       bool           // a process was found
	ever     bool           // likewise, at some time
	restarts uint64         // how often others were found when none was left
	known    map[int]uint64 // start of each process that JobOptions.PIDs named
	looked   time.Duration  // since boot: when the last look began
	endLook  time.Time      // the last look because all roots had ended
	unseen   bool           // all roots have ended, and no look was made then
	err      error          // of the last look

	cpuBefore int64 // CPU time of the job before the service restarted
}

// fill fills in what is known of the service itself.
func (v *serviceState) fill(to *JobSample) {
	to.Up, to.Restarts = Known(0), Known(float64(v.restarts))
	if v.up {
		to.Up = Known(1)
	}
}

// serviceLook is a look for the processes of all services.
type serviceLook struct {
	began time.Time
	boot  time.Duration   // the same since boot
	jobs  []*Job          // those looked for
	late  <-chan struct{} // closed when it is not waited for any more
	done  chan struct{}
}

func (l *serviceLook) isDone() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// lookTime is how long a sample waits for a look. The command line of a process
// that hangs in the kernel may never be read, and who waits for it hangs, too:
// the look is made in a goroutine of its own and without the lock.
const lookTime = 2 * time.Second

var errLookHangs = errors.New("procinfo: services are not looked for: the command line or the pid file of a process cannot be read")

// lookBefore looks for the processes of services, unless that was done a moment
// ago, before a sample of the job.
func (j *Job) lookBefore() {
	s := j.set
	// Once: on a slow host a look may take longer than it counts as recent.
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

// identity is a process.
type identity struct {
	pid   int
	start uint64
}

// lookOnce makes a look.
func (s *Jobs) lookOnce(l *serviceLook) {
	found, errs := make([][]identity, len(l.jobs)), make([]error, len(l.jobs))
	f := &s.finder
	err := f.open()
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
			switch st, e := f.process(pid); {
			case e == nil && !st.dead():
				found[i] = append(found[i], identity{pid, st.start})
			case e != nil && !gone(e):
				errs[i] = errors.Join(errs[i], fmt.Errorf("procinfo: %w", e))
			}
		}
	}
	if lines && err == nil {
		err = f.match(l.jobs, found)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.dir.close()
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

// maxCmdline is how much of a command line is looked at.
const maxCmdline = 64 << 10

// match shows all command lines to the services, and notes which want them.
func (s *procScan) match(jobs []*Job, found [][]identity) error {
	if _, err := syscall.Seek(s.dir.fd-1, 0, 0); err != nil {
		return err
	}
	buf := make([]byte, maxCmdline)
	return readPIDs(s.dir.fd-1, s.ents[:], func(pid int, _ []byte) {
		line := s.cmdline(pid, buf)
		var start uint64
		for i, j := range jobs {
			match := j.options.Service.Match
			if match == nil || len(line) == 0 || !match(pid, line) {
				continue
			}
			if start == 0 {
				st, err := s.process(pid)
				if err != nil || st.dead() {
					return
				}
				start = st.start
				// Only now is it sure whose it is.
				if line = s.cmdline(pid, buf); len(line) == 0 || !match(pid, line) {
					continue
				}
			}
			found[i] = append(found[i], identity{pid, start})
		}
	})
}

// cmdline reads the command line of a process into buf, nothing if it has none.
func (s *procScan) cmdline(pid int, buf []byte) []byte {
	s.setPath(pid, "cmdline")
	fd, errno := s.openPath(syscall.O_RDONLY)
	if errno != 0 {
		return nil
	}
	n, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return nil
	}
	return buf[:n]
}

// process reads the stat file of a process, and refuses a thread.
func (s *procScan) process(pid int) (procStat, error) {
	b, errno := s.read(pid, "stat")
	if gone(errno) {
		errno = syscall.ESRCH // rather than that a file is missing
	}
	if errno != 0 {
		return procStat{}, fmt.Errorf("process %d: %w", pid, errno)
	}
	st, ok := parseProcStat(b)
	if !ok {
		return procStat{}, fmt.Errorf("process %d: %w", pid, errStat)
	}
	if b, errno := s.read(pid, "status"); errno == 0 {
		if tgid := parseTgid(b); tgid.ok && tgid.n != uint64(pid) {
			return procStat{}, fmt.Errorf("%d is a thread of process %d", pid, tgid.n)
		}
	}
	return st, nil
}

// setRoots makes the processes that a look has found the roots of a service.
func (s *Jobs) setRoots(j *Job, found []identity, l *serviceLook) {
	v := &j.service
	var roots, joined []*proc
	for _, id := range found {
		if slices.Contains(j.options.PIDs, id.pid) {
			if start, ok := v.known[id.pid]; ok && start != id.start {
				continue // it is another's now
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
		if err != nil || st.start != id.start || st.dead() {
			continue
		}
		p := s.addRoot(j, id.pid, &st, false)
		if v.ever && ticksSinceBoot(p.start) < v.looked-tick {
			// It was there, and did not match. Of what its children have left,
			// the job may have counted something already.
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
		j.start = ticksSinceBoot(slices.MinFunc(roots, older).start)
		j.hasEnd, j.over, j.ran = false, false, Value{}
		if !j.cgroup.given {
			j.cgroup = jobCgroup{}
		}
	}
	v.up, v.ever, v.unseen = len(roots) > 0, v.ever || len(roots) > 0, false
	v.looked = l.boot
	j.roots = roots
	s.dropSessions(j)
	if len(joined) > 0 {
		s.grown = true
		s.scanned = time.Time{} // who comes from them is for a new scan to find
		s.exits.watch(s, j, joined)
	}
}

// overlap reports whether one of these processes was there when the last root
// before them ended. Start times are cut down to ticks.
func (j *Job) overlap(roots []*proc, now time.Time) bool {
	boot, ok := j.set.boot()
	if !ok || !j.hasEnd {
		return false
	}
	end := boot - now.Sub(j.end)
	return ticksSinceBoot(slices.MinFunc(roots, older).start) < end-2*tick
}

// dropSessions forgets the sessions that roots have led and in which nobody of
// the job is left.
func (s *Jobs) dropSessions(j *Job) {
	j.led = slices.DeleteFunc(j.led, func(session int) bool {
		if slices.ContainsFunc(j.members, func(p *proc) bool { return p.session == session }) {
			return false
		}
		s.unlead(j, session)
		return true
	})
}

// unlead forgets that a root of the job leads a session.
func (s *Jobs) unlead(j *Job, session int) {
	if jobs := slices.DeleteFunc(s.sessions[session], func(k *Job) bool { return k == j }); len(jobs) > 0 {
		s.sessions[session] = jobs
	} else {
		delete(s.sessions, session)
	}
}

// endLookInterval is how soon a service is looked for again because all of its
// roots have ended. Where all its processes are short-lived, they may end all
// the time.
const endLookInterval = time.Second

// lookAtEnd looks for others when all roots of a service have ended, and calls
// Exited if there are none.
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
