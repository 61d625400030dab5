package procinfo

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// details says which files of a job's processes are to be read.
type details struct {
	switches, io, files bool
}

// details reads what is not in the stat file of a job's processes.
func (s *Jobs) details(j *Job, d details) {
	settled := true
	for _, p := range j.members { // parents first: see proc
		p.fading = false
		s.readStatus(j, p, d.switches)
		if d.io {
			s.readIO(j, p)
		}
		if d.files {
			n, errno := s.files(p.pid)
			p.files, p.filesKnown = uint64(max(0, n)), true
			if errno != 0 && !s.over(p, errno) {
				p.filesKnown = false
				j.fail("fd", s.pathError(p.pid, "fd", errno))
			}
		}
		if p.fading {
			p.ioKnown, p.csKnown = true, true // there is no more of it
			settled = false
		}
	}
	if !settled {
		return
	}
	for _, p := range j.members {
		p.settle(treeCounters, nCounters)
	}
	if s.reaper != nil && s.started == j {
		s.reaper.settle(treeCounters, nCounters)
	}
}

// readIO reads the io file of a process.
func (s *Jobs) readIO(j *Job, p *proc) {
	b, errno := s.io(p)
	switch {
	case errno == 0:
		io := parseProcIO(b)
		p.ioKnown = true
		p.setIO(&io)
	case gone(errno):
		p.fading = true
	case s.over(p, errno):
		p.ioKnown = true // as far as it was seen
	default:
		p.ioKnown = false
		j.fail("io", s.pathError(p.pid, "io", errno))
	}
}

// io reads the io file of a process, a root's from the file that is kept open.
func (s *Jobs) io(p *proc) ([]byte, syscall.Errno) {
	if p.io == nil {
		return s.scanner.read(p.pid, "io")
	}
	n, err := p.io.ReadAt(s.scanner.buf[:], 0)
	if n == 0 && err != nil {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			errno = syscall.ESRCH
		}
		return nil, errno
	}
	return s.scanner.buf[:n], 0
}

// over reports whether an error of reading a process's file comes of its end:
// from the moment when it gives up its memory, before it is a zombie, its files
// belong to the superuser.
func (s *Jobs) over(p *proc, errno syscall.Errno) bool {
	if gone(errno) || p.zombie || p.ended {
		return true
	}
	st, err := s.stat(p.pid)
	return err != nil || st.start != p.start || st.dead() || st.vsize == 0
}

// files returns how many files a process has open.
func (s *Jobs) files(pid int) (int, syscall.Errno) {
	if s.sizedFD {
		s.scanner.setPath(pid, "fd")
		fd, errno := s.scanner.openPath(oPath)
		if errno != 0 {
			return 0, errno
		}
		var st syscall.Stat_t
		err := syscall.Fstat(int(fd), &st)
		syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
		if err != nil {
			errno, _ = err.(syscall.Errno)
			return 0, errno
		}
		return int(st.Size), 0
	}
	s.scanner.setPath(pid, "fd")
	return s.entries(nil)
}

const oPath = 0x200000 // O_PATH

// entries counts the entries of the directory at the scanner's path that are
// numbers, and calls visit, if there is one, for each.
func (s *Jobs) entries(visit func(n int)) (int, syscall.Errno) {
	fd, errno := s.scanner.openPath(syscall.O_RDONLY | syscall.O_DIRECTORY)
	if errno != 0 {
		return 0, errno
	}
	n := 0
	err := readPIDs(int(fd), s.scanner.ents[:], func(id int, _ []byte) {
		n++
		if visit != nil {
			visit(id)
		}
	})
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if err != nil {
		errno, _ = err.(syscall.Errno)
	}
	return n, errno
}

// readStatus reads the status file of a process and, for its context switches,
// those of its threads if it has several.
func (s *Jobs) readStatus(j *Job, p *proc, switches bool) {
	b, errno := s.scanner.read(p.pid, "status")
	if errno != 0 {
		p.csKnown = false
		if p.fading = gone(errno); !p.fading {
			j.fail("status", s.pathError(p.pid, "status", errno))
		}
		return
	}
	st := parseProcStatus(b)
	p.setStatus(&st)
	if !switches {
		return
	}
	p.csKnown = st.voluntary.ok && st.nonvoluntary.ok
	s.switches = append(s.switches[:0], threadSwitches{p.pid, [2]uint64{st.voluntary.n, st.nonvoluntary.n}})
	if p.threads > 1 {
		s.threads(p)
	}
	if p.csKnown {
		p.setSwitches(s.switches)
	}
}

// threads adds the context switches of all but the first thread of a process.
func (s *Jobs) threads(p *proc) {
	s.tids = s.tids[:0]
	s.scanner.setPath(p.pid, "task")
	if _, errno := s.entries(func(tid int) { s.tids = append(s.tids, tid) }); errno != 0 {
		p.csKnown = p.csKnown && gone(errno)
		return
	}
	for _, tid := range s.tids {
		if tid == p.pid {
			continue
		}
		s.scanner.setThreadPath(p.pid, tid, "status")
		b, errno := s.scanner.readPath()
		if errno != 0 {
			p.csKnown = p.csKnown && gone(errno)
			continue
		}
		st := parseProcStatus(b)
		s.switches = append(s.switches, threadSwitches{tid, [2]uint64{st.voluntary.n, st.nonvoluntary.n}})
	}
	slices.SortFunc(s.switches, func(a, b threadSwitches) int { return cmp.Compare(a.tid, b.tid) })
}

// setStatus notes what a status file tells of the whole process.
func (p *proc) setStatus(st *procStatus) {
	// That of stat is summed up late in current kernels, and too low by up to
	// some 100 KiB for each process: see docs/jobs.md.
	if st.rss.ok {
		p.rss = st.rss.n
	}
	p.peakRSS = max(p.peakRSS, st.peakRSS.n)
	const sigchld = 1 << (17 - 1)
	p.ignoresSIGCHLD = p.ignoresSIGCHLD || st.sigIgn.n&sigchld != 0
}

// setSwitches notes the context switches of the threads there are, by tid.
// Those of a thread that has ended are in no file any more.
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

// jobMemory is what the smaps_rollup files of a job's processes tell. To read
// one the kernel walks the process's page tables (9 µs for each MiB of small
// pages), so that a round through all of them is spread over samples, and the
// next is not begun before a thousand times as long has passed: the reading
// takes at most a thousandth of one CPU, and small jobs are measured each time.
type jobMemory struct {
	mu       sync.Mutex
	todo     []int // pids that are left of this round
	pss      uint64
	swapPSS  uint64
	bad      bool // one of this round could not be read
	running  bool
	cost     time.Duration // of this round so far
	next     time.Time     // when the next may begin
	complete struct {
		pss, swapPSS, max Value
	}
}

const (
	memoryBudget = 250 * time.Millisecond // of one sample
	memoryShare  = 1000
)

// sample goes on reading, and fills in the last complete values.
func (m *jobMemory) sample(j *Job, to *JobSample) (err error) {
	s := j.set
	if to.Ended {
		to.MaxPSS = m.complete.max
		return nil
	}
	begin := time.Now()
	if !m.running && !begin.Before(m.next) {
		m.todo = m.todo[:0]
		s.mu.Lock()
		for _, p := range j.members {
			if !p.zombie && !p.ended {
				m.todo = append(m.todo, p.pid)
			}
		}
		s.mu.Unlock()
		m.pss, m.swapPSS, m.bad, m.running, m.cost = 0, 0, false, true, 0
	}
	spent := time.Duration(0)
	for m.running && len(m.todo) > 0 && spent < memoryBudget {
		pid := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		b, e := os.ReadFile(s.fs.proc(strconv.Itoa(pid) + "/smaps_rollup"))
		switch pss, swap := parseSmaps(b); {
		case e == nil && (pss.ok || len(b) == 0):
			m.pss += pss.n
			m.swapPSS += swap.n
		case e == nil:
			m.bad = true
		case !gone(e):
			if st, ok := parseProcStat(readSmall(s.fs.proc(strconv.Itoa(pid) + "/stat"))); !ok || st.dead() || st.vsize == 0 {
				break // see over
			}
			m.bad = true
			err = errors.Join(err, s.memoryError(j, e))
		}
		spent = time.Since(begin)
	}
	m.cost += spent
	if m.running && len(m.todo) == 0 {
		m.running = false
		m.next = time.Now().Add(memoryShare * m.cost)
		c := &m.complete
		c.pss, c.swapPSS = Value{}, Value{}
		if !m.bad {
			c.pss, c.swapPSS = Known(float64(m.pss)), Known(float64(m.swapPSS))
			if !c.max.OK || c.pss.V > c.max.V {
				c.max = c.pss
			}
		}
	}
	to.PSS, to.SwapPSS, to.MaxPSS = m.complete.pss, m.complete.swapPSS, m.complete.max
	return err
}

// memoryError returns an error of reading smaps_rollup if it is the first.
func (s *Jobs) memoryError(j *Job, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.errs = j.errs[:0]
	j.fail("smaps_rollup", err)
	return errors.Join(j.errs...)
}

// sizesFD reports whether the size of PID/fd is how many files are open, as it
// is since Linux 6.2.
func (s *Jobs) sizesFD() bool {
	s.sizedFD = true
	n, errno := s.files(s.self)
	return errno == 0 && n > 0
}
