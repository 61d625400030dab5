package jobtree

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// details says which files of a job's processes are to be read.
type details struct {
	switches, io, files bool
}

// details reads what is not in the stat file of a job's processes.
func (s *Set) details(j *Job, d details) {
	settled := true
	for _, p := range j.members { // parents first: see proc
		p.fading = false
		s.readStatus(j, p, d.switches)
		if d.io {
			s.readIO(j, p)
		}
		if d.files {
			n, errno := s.scanner.OpenFiles(p.pid, s.sizedFD)
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
func (s *Set) readIO(j *Job, p *proc) {
	b, errno := s.io(p)
	switch {
	case errno == 0:
		io := kernel.ParsePIDIO(b)
		p.ioKnown = true
		p.setIO(&io)
	case process.Gone(errno):
		p.fading = true
	case s.over(p, errno):
		p.ioKnown = true // as far as it was seen
	default:
		p.ioKnown = false
		j.fail("io", s.pathError(p.pid, "io", errno))
	}
}

// io reads the io file of a process, a root's from the file that is kept open.
func (s *Set) io(p *proc) ([]byte, syscall.Errno) {
	if p.io == nil {
		return s.scanner.Read(p.pid, "io")
	}
	n, err := p.io.ReadAt(s.buf[:], 0)
	if n == 0 && err != nil {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			errno = syscall.ESRCH
		}
		return nil, errno
	}
	return s.buf[:n], 0
}

// over reports whether an error of reading a process's file comes of its end:
// from the moment when it gives up its memory, before it is a zombie, its files
// belong to the superuser.
func (s *Set) over(p *proc, errno syscall.Errno) bool {
	if process.Gone(errno) || p.zombie || p.ended {
		return true
	}
	st, err := s.stat(p.pid)
	return err != nil || st.Start != p.start || st.Dead() || st.VSize == 0
}

// readStatus reads the status file of a process and, for its context switches,
// those of its threads if it has several.
func (s *Set) readStatus(j *Job, p *proc, switches bool) {
	b, errno := s.scanner.Read(p.pid, "status")
	if errno != 0 {
		p.csKnown = false
		if p.fading = process.Gone(errno); !p.fading {
			j.fail("status", s.pathError(p.pid, "status", errno))
		}
		return
	}
	st := kernel.ParseStatus(b)
	p.setStatus(&st)
	if !switches {
		return
	}
	p.csKnown = st.Voluntary.OK && st.Nonvoluntary.OK
	s.switches = append(s.switches[:0], threadSwitches{p.pid, [2]uint64{st.Voluntary.N, st.Nonvoluntary.N}})
	if p.threads > 1 {
		s.threads(p)
	}
	if p.csKnown {
		p.setSwitches(s.switches)
	}
}

// threads adds the context switches of all but the first thread of a process.
func (s *Set) threads(p *proc) {
	s.tids = s.tids[:0]
	if _, errno := s.scanner.Entries(p.pid, "task", func(tid int) { s.tids = append(s.tids, tid) }); errno != 0 {
		p.csKnown = p.csKnown && process.Gone(errno)
		return
	}
	for _, tid := range s.tids {
		if tid == p.pid {
			continue
		}
		b, errno := s.scanner.ReadThread(p.pid, tid, "status")
		if errno != 0 {
			p.csKnown = p.csKnown && process.Gone(errno)
			continue
		}
		st := kernel.ParseStatus(b)
		s.switches = append(s.switches, threadSwitches{tid, [2]uint64{st.Voluntary.N, st.Nonvoluntary.N}})
	}
	slices.SortFunc(s.switches, func(a, b threadSwitches) int { return cmp.Compare(a.tid, b.tid) })
}

// setStatus notes what a status file tells of the whole process.
func (p *proc) setStatus(st *kernel.Status) {
	// That of stat is summed up late in current kernels, and too low by up to
	// some 100 KiB for each process: see docs/jobs.md.
	if st.RSS.OK {
		p.rss = st.RSS.N
	}
	p.peakRSS = max(p.peakRSS, st.PeakRSS.N)
	const sigchld = 1 << (17 - 1)
	p.ignoresSIGCHLD = p.ignoresSIGCHLD || st.SigIgn.N&sigchld != 0
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
		pss, swapPSS, max procinfo.Value
	}
}

const (
	memoryBudget = 250 * time.Millisecond // of one sample
	memoryShare  = 1000
)

// sample goes on reading, and fills in the last complete values.
func (m *jobMemory) sample(j *Job, to *procinfo.JobSample) (err error) {
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
		b, e := os.ReadFile(s.fs.ProcPath(strconv.Itoa(pid) + "/smaps_rollup"))
		switch pss, swap := kernel.ParseSmapsRollup(b); {
		case e == nil && (pss.OK || len(b) == 0):
			m.pss += pss.N
			m.swapPSS += swap.N
		case e == nil:
			m.bad = true
		case !process.Gone(e):
			if st, ok := kernel.ParsePIDStat(readSmall(s.fs.ProcPath(strconv.Itoa(pid) + "/stat"))); !ok || st.Dead() || st.VSize == 0 {
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
		c.pss, c.swapPSS = procinfo.Value{}, procinfo.Value{}
		if !m.bad {
			c.pss, c.swapPSS = procinfo.Known(float64(m.pss)), procinfo.Known(float64(m.swapPSS))
			if !c.max.OK || c.pss.V > c.max.V {
				c.max = c.pss
			}
		}
	}
	to.PSS, to.SwapPSS, to.MaxPSS = m.complete.pss, m.complete.swapPSS, m.complete.max
	return err
}

// memoryError returns an error of reading smaps_rollup if it is the first.
func (s *Set) memoryError(j *Job, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.errs = j.errs[:0]
	j.fail("smaps_rollup", err)
	return errors.Join(j.errs...)
}
