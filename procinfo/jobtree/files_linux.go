package jobtree

import (
	"cmp"
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// details selects the files of a job's processes to read besides stat and status.
type details struct {
	switches, io, files bool
}

// details reads the files of a tree's processes other than stat.
func (s *forest) details(t *tree, d details) {
	settled := true
	for _, p := range t.members { // parents first: see proc
		p.fading = false
		s.readStatus(t, p, d.switches)
		if d.io {
			s.readIO(t, p)
		}
		if d.files {
			n, errno := s.scanner.OpenFiles(p.pid)
			p.files, p.filesKnown = uint64(max(0, n)), true
			if errno != 0 && !s.over(p, errno) {
				p.filesKnown = false
				t.fail("fd", s.pathError(p.pid, "fd", errno))
			}
		}
		if p.fading {
			p.ioKnown, p.csKnown = true, true // the last values are final
			settled = false
		}
	}
	if !settled {
		return
	}
	for _, p := range t.members {
		p.settle(treeCounters, nCounters)
	}
	if s.reaper != nil && s.started == t {
		s.reaper.settle(treeCounters, nCounters)
	}
}

// readIO reads the io file of a process.
func (s *forest) readIO(t *tree, p *proc) {
	b, errno := s.io(p)
	switch {
	case errno == 0:
		io := kernel.ParsePIDIO(b)
		p.ioKnown = true
		p.setIO(&io)
	case process.Gone(errno):
		p.fading = true
	case s.over(p, errno):
		p.ioKnown = true // the last value is final
	default:
		p.ioKnown = false
		t.fail("io", s.pathError(p.pid, "io", errno))
	}
}

// over reports whether a process's file cannot be read because the process is ending:
// its files belong to the superuser from the moment when it gives up its memory, before
// it is a zombie.
func (s *forest) over(p *proc, errno syscall.Errno) bool {
	if process.Gone(errno) || p.zombie || p.ended {
		return true
	}
	st, err := s.stat(p.pid)
	return err != nil || st.Start != p.start || st.Dead() || st.VSize == 0
}

// readStatus reads the status file of a process and, for context switches, the status
// files of its other threads.
func (s *forest) readStatus(t *tree, p *proc, switches bool) {
	b, errno := s.scanner.Read(p.pid, "status")
	if errno != 0 {
		p.csKnown = false
		if p.fading = process.Gone(errno); !p.fading {
			t.fail("status", s.pathError(p.pid, "status", errno))
		}
		return
	}
	st := kernel.ParseStatus(b)
	if !st.RSS.OK && p.threads > 1 {
		s.readOtherThread(p, &st)
	}
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

// listThreads reads the ids of the threads of a process into s.tids.
func (s *forest) listThreads(pid int) syscall.Errno {
	s.tids = s.tids[:0]
	_, errno := s.scanner.Entries(pid, "task", func(tid int) { s.tids = append(s.tids, tid) })
	return errno
}

// readOtherThread reads the memory of a process whose first thread has ended, and has given
// up its share of it, while others live.
func (s *forest) readOtherThread(p *proc, st *kernel.Status) {
	_ = s.listThreads(p.pid)
	for _, tid := range s.tids {
		if tid == p.pid {
			continue
		}
		b, errno := s.scanner.ReadThread(p.pid, tid, "status")
		if errno != 0 {
			continue
		}
		other := kernel.ParseStatus(b)
		if !other.RSS.OK {
			continue
		}
		st.RSS, st.PeakRSS, st.Swap = other.RSS, other.PeakRSS, other.Swap
		if b, errno := s.scanner.ReadThread(p.pid, tid, "stat"); errno == 0 {
			if stat, ok := kernel.ParsePIDStat(b); ok {
				p.vsize = stat.VSize
			}
		}
		return
	}
}

// threads adds the context switches of all but the first thread of a process.
func (s *forest) threads(p *proc) {
	if errno := s.listThreads(p.pid); errno != 0 {
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

// jobMemory sums up the smaps_rollup files of a job's processes. For each the kernel
// walks the process's page tables (9 µs for each MiB of small pages). So a round
// through all of them is spread over samples, and the next begins only after a thousand
// times the CPU time of the last, or a hundred times while the memory of the job changes:
// reading takes at most a thousandth of one CPU, and small jobs are measured in each sample.
type jobMemory struct {
	mu       sync.Mutex
	todo     []int  // pids left to read in this round
	pss      uint64 // KiB
	swapPSS  uint64 // KiB
	bad      bool   // a file of this round could not be read
	running  bool
	cost     time.Duration // CPU time of this round so far
	rss      float64       // KiB, at its begin
	ended    time.Time     // the last round
	complete struct {
		pss, swapPSS, max procinfo.Value // of the last complete round
	}
}

const (
	memoryBudget = 250 * time.Millisecond // of one sample
	memoryShare  = 1000
	memoryChange = 100 // the share while the memory changes
	memorySame   = .02 // changes of rss that do not count
)

// due reports whether the next round may begin.
func (m *jobMemory) due(now time.Time, rss float64) bool {
	share := time.Duration(memoryShare)
	if math.Abs(rss-m.rss) > memorySame*m.rss {
		share = memoryChange
	}
	return !now.Before(m.ended.Add(share * m.cost))
}

// threadTime returns the CPU time of this thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// sample continues the round, and fills in the values of the last complete one.
func (m *jobMemory) sample(s *forest, t *tree, to *procinfo.JobSample) (err error) {
	if to.Ended {
		to.MaxPSS = m.complete.max
		return nil
	}
	// On a busy machine most of the time between two clock readings is that of others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin, used := time.Now(), threadTime()
	if !m.running && m.due(begin, to.RSS.V) {
		m.todo = m.todo[:0]
		s.mu.Lock()
		for _, p := range t.members {
			if !p.zombie && !p.ended {
				m.todo = append(m.todo, p.pid)
			}
		}
		s.mu.Unlock()
		m.pss, m.swapPSS, m.bad, m.running, m.cost, m.rss = 0, 0, false, true, 0, to.RSS.V
	}
	spent := time.Duration(0)
	for m.running && len(m.todo) > 0 && spent < memoryBudget {
		pid := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		b, e := s.smapsRollup(pid)
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
			err = errors.Join(err, s.memoryError(t, e))
		}
		spent = time.Since(begin)
	}
	m.cost += threadTime() - used
	if m.running && len(m.todo) == 0 {
		m.running = false
		m.ended = time.Now()
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

// smapsRollup reads the smaps_rollup file of a process: of another thread if the first has
// ended.
func (s *forest) smapsRollup(pid int) ([]byte, error) {
	dir := s.fs.ProcPath(strconv.Itoa(pid))
	b, err := os.ReadFile(dir + "/smaps_rollup")
	if err == nil || !process.Gone(err) {
		return b, err
	}
	threads, _ := os.ReadDir(dir + "/task")
	for _, t := range threads {
		if b, e := os.ReadFile(dir + "/task/" + t.Name() + "/smaps_rollup"); e == nil && len(b) > 0 {
			return b, nil
		}
	}
	return nil, err
}

// memoryError returns an error of reading smaps_rollup if its cause is new.
func (s *forest) memoryError(t *tree, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.fail("smaps_rollup", err)
	return t.errs.Take()
}

// readSmall returns the content of a file, nothing if it cannot be read.
func readSmall(name string) []byte {
	b, _ := os.ReadFile(name)
	return b
}
