package jobtree

import (
	"errors"
	"io/fs"
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

// A forest is the processes of all jobs, as the last scan of /proc saw them.
type forest struct {
	fs    procinfo.FS
	host  *procinfo.Processes
	clock func() time.Time             // of this process
	boot  func() (time.Duration, bool) // time since boot on the host

	mu      sync.Mutex // guards everything below, and the trees
	closed  bool
	scanner *process.Scanner
	buf     [32 << 10]byte // of one file
	own     bool           // the processes belong to our own pid namespace
	self    int            // our pid among them, 0 if unknown

	procs      map[int]*proc
	ioFiles    int // files that are open
	generation uint64
	scanned    time.Time // when the last scan began
	whole      bool      // it read all processes of the host
	scanTick   uint64    // the same in clock ticks since boot
	scanErr    error
	strangers  []stranger // processes of this scan that belong to no job so far
	vanished   []*proc    // to be buried
	oldest     uint64     // no process of a job started before
	grown      bool       // a job was added since the last scan

	jobs       int     // that are followed
	round      uint64  // of walks
	queue      []*proc // of a walk: processes whose children are to be read
	walkErr    error   // of a walk: why a process could not be read
	noChildren bool    // the kernel has no list of the children of a thread

	pids     []int            // of ask and list
	switches []threadSwitches // of readStatus
	tids     []int            // of threads and list
	sessions map[int][]*tree  // by the roots that lead one
	started  *tree            // the one that this process started
	reaper   *proc            // this process, while there is such a tree

	gpuKnown, gpuFound bool // see gpus
}

// A stranger is a process that is not known to belong to a job.
type stranger struct {
	pid, ppid, session int
	start              uint64
}

var errClosed = errors.New("procinfo: jobs are closed")

// join makes a process a member of a tree.
func (s *forest) join(p *proc, t *tree) {
	if p.member(t) {
		return
	}
	p.trees = append(p.trees, t)
	i, _ := slices.BinarySearchFunc(t.members, p, older)
	t.members = slices.Insert(t.members, i, p)
	t.total++
	if len(s.procs) == 1 || p.start < s.oldest {
		s.oldest = p.start
	}
}

// leave ends the membership of a process in a tree.
func (s *forest) leave(p *proc, t *tree) {
	p.trees = slices.DeleteFunc(p.trees, func(u *tree) bool { return u == t })
	if len(p.trees) == 0 {
		s.closeIO(p)
		if s.procs[p.pid] == p {
			delete(s.procs, p.pid)
		}
	}
}

// stat reads the stat file of a process.
func (s *forest) stat(pid int) (kernel.PIDStat, error) {
	b, errno := s.scanner.Read(pid, "stat")
	if errno != 0 {
		return kernel.PIDStat{}, errno
	}
	st, ok := kernel.ParsePIDStat(b)
	if !ok {
		return kernel.PIDStat{}, process.ErrStat
	}
	return st, nil
}

// pathError returns an error about a file of a process.
func (s *forest) pathError(pid int, name string, err error) error {
	return &fs.PathError{Op: "read", Path: s.fs.ProcPath(strconv.Itoa(pid) + "/" + name), Err: err}
}

// current returns the process with this pid if this scan saw it and it may be the parent
// of a process that started at start: it belongs to some job, and is not younger.
func (s *forest) current(pid int, start uint64) *proc {
	if s.reaper != nil && pid == s.self && len(s.started.roots) > 0 && start >= s.started.roots[0].start {
		return s.reaper
	}
	if p := s.procs[pid]; p != nil && p.generation == s.generation && p.start <= start {
		return p
	}
	return nil
}

// addRoot makes a process a root of a tree. If it is older than the job, the counters
// of children that have ended so far do not belong to the job.
func (s *forest) addRoot(t *tree, pid int, st *kernel.PIDStat, older bool) *proc {
	p := s.procs[pid]
	if p == nil || p.start != st.Start {
		if p != nil {
			s.vanished = append(s.vanished, p)
		}
		p = &proc{pid: pid, start: st.Start, generation: s.generation}
		s.procs[pid] = p
		p.setStat(st)
		p.settle(0, treeCounters)
	}
	s.openIO(p)
	if older {
		if b, errno := s.io(p); errno == 0 {
			io := kernel.ParsePIDIO(b)
			p.setIO(&io)
		}
		t.baseline.add(&p.taken)
	}
	s.join(p, t)
	t.roots = append(t.roots, p)
	if st.Session == pid && !slices.Contains(s.sessions[pid], t) {
		s.sessions[pid] = append(s.sessions[pid], t)
		t.led = append(t.led, pid)
	}
	return p
}

// unlead forgets that a root of the tree leads a session.
func (s *forest) unlead(t *tree, session int) {
	if jobs := slices.DeleteFunc(s.sessions[session], func(u *tree) bool { return u == t }); len(jobs) > 0 {
		s.sessions[session] = jobs
	} else {
		delete(s.sessions, session)
	}
}

// dropSessions forgets the sessions that roots led and that no member is in any more.
func (s *forest) dropSessions(t *tree) {
	t.led = slices.DeleteFunc(t.led, func(session int) bool {
		if slices.ContainsFunc(t.members, func(p *proc) bool { return p.session == session }) {
			return false
		}
		s.unlead(t, session)
		return true
	})
}

// maxIOFiles bounds the io files that are kept open: the rest of the program needs
// descriptors, too.
const maxIOFiles = 256

// openIO opens the io file of a root.
func (s *forest) openIO(p *proc) {
	if p.io != nil || s.ioFiles >= maxIOFiles {
		return
	}
	f, err := os.Open(s.fs.ProcPath(strconv.Itoa(p.pid) + "/io"))
	if err != nil {
		return
	}
	if st, err := s.stat(p.pid); err != nil || st.Start != p.start {
		f.Close()
		return
	}
	p.io = f
	s.ioFiles++
}

func (s *forest) closeIO(p *proc) {
	if p.io != nil {
		p.io.Close()
		p.io = nil
		s.ioFiles--
	}
}

// io reads the io file of a process: of a root, from the file that is kept open.
func (s *forest) io(p *proc) ([]byte, syscall.Errno) {
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

// isGone reports whether a process that a scan did not see has certainly ended.
func (s *forest) isGone(p *proc) bool {
	b, errno := s.scanner.Read(p.pid, "stat")
	if errno != 0 {
		return process.Gone(errno)
	}
	st, ok := kernel.ParsePIDStat(b)
	return ok && st.Start != p.start
}

// readClock reads the CPU time of a process. It reports whether the process exists.
func (s *forest) readClock(p *proc) bool {
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

// noteUnwaited notes, if lost, that no process waited for some children of p.
func (p *proc) noteUnwaited(lost bool) {
	if lost {
		for _, t := range p.trees {
			t.unwaited = true
		}
	}
}

// known returns a counter of a tree as the sum over its processes.
func (s *forest) known(t *tree, i int) int64 {
	sum := t.gone[i] - t.baseline[i]
	if s.reaper != nil && s.started == t {
		sum += s.reaper.taken[i]
	}
	for _, p := range t.members {
		sum += p.own[i] + p.taken[i]
	}
	return sum
}
