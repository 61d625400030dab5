package jobtree

import (
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// exits notices at once when the roots of jobs end: a pidfd for each, all in one
// epoll set, which Go's poller waits for, so that no thread does. Where there
// are no pidfds (before Linux 5.3, or the processes of another tree) the scans
// notice.
type exits struct {
	set     *Set
	running sync.WaitGroup

	mu    sync.Mutex
	epoll *os.File // nil for none
	fd    int      // of epoll
	last  int32
	roots map[int32]watchedRoot
}

// watchedRoot is a root of a job with its pidfd.
type watchedRoot struct {
	job   *Job
	proc  *proc
	pidfd int
	io    *os.File // see proc
}

// maxWatched is how many roots are watched before those of services are left to
// the scans: others need descriptors, too.
const maxWatched = 256

// watch begins to watch roots of a job.
func (e *exits) watch(s *Set, j *Job, roots []*proc) {
	if !s.own {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.epoll == nil && !e.start(s) {
		return
	}
	for _, p := range roots {
		if j.options.Service != nil && len(e.roots) >= maxWatched {
			return
		}
		pidfd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			continue
		}
		// It may be another's pid by now; then the scan notices.
		st, err := s.stat(p.pid)
		e.last++
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: e.last}
		if err != nil || st.Start != p.start || syscall.EpollCtl(e.fd, syscall.EPOLL_CTL_ADD, pidfd, &ev) != nil {
			syscall.Close(pidfd)
			continue
		}
		e.roots[e.last] = watchedRoot{j, p, pidfd, p.io}
	}
}

// start makes the epoll set and the goroutine that waits for it.
func (e *exits) start(s *Set) bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	// So that package os hands it to the poller.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return false
	}
	e.set, e.fd, e.epoll, e.roots = s, fd, os.NewFile(uintptr(fd), "epoll"), map[int32]watchedRoot{}
	raw, err := e.epoll.SyscallConn()
	if err != nil {
		e.epoll.Close()
		e.epoll = nil
		return false
	}
	e.running.Go(func() { e.run(raw) })
	return true
}

// run handles the exits until the epoll set is closed.
func (e *exits) run(raw syscall.RawConn) {
	var events [64]syscall.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			for {
				if n, err = syscall.EpollWait(int(fd), events[:], 0); err != syscall.EINTR {
					return n > 0 || err != nil
				}
			}
		})
		if err != nil || n < 0 {
			return
		}
		for _, ev := range events[:n] {
			e.handle(ev.Fd)
		}
	}
}

// handle notes that a root has ended.
func (e *exits) handle(id int32) {
	e.mu.Lock()
	w, ok := e.roots[id]
	if ok {
		delete(e.roots, id)
		syscall.Close(w.pidfd)
	}
	e.mu.Unlock()
	if !ok {
		return
	}
	// As long as its parent has not waited for it, it can be read a last time:
	// now, not when a scan that may be under way has ended.
	s := e.set
	now := time.Now()
	pid := strconv.Itoa(w.proc.pid)
	read := func(name string) []byte {
		b, _ := os.ReadFile(s.fs.ProcPath(pid + "/" + name))
		return b
	}
	cpu, timed := process.CPUClock(w.proc.pid)
	stat, ok := kernel.ParsePIDStat(read("stat"))
	var io kernel.PIDIO
	if w.io != nil {
		b := make([]byte, 4096)
		n, _ := w.io.ReadAt(b, 0)
		io = kernel.ParsePIDIO(b[:n])
	}
	status := kernel.ParseStatus(read("status"))

	s.mu.Lock()
	defer s.mu.Unlock()
	p := w.proc
	p.ended = true
	// What it took over may be counted as its children's, too, until the next
	// scan.
	s.scanned = time.Time{}
	if ok && stat.Start == p.start && !p.dead {
		s.unwaited(p, p.setStat(&stat))
		if timed {
			p.setCPU(cpu)
		}
		if io.RChar.OK {
			p.setIO(&io)
		}
		if status.Voluntary.OK && status.Nonvoluntary.OK {
			p.setSwitches([]threadSwitches{{p.pid, [2]uint64{status.Voluntary.N, status.Nonvoluntary.N}}})
		}
	}
	if !w.job.removed && !s.closed {
		s.checkEnd(w.job, now)
	}
}

// unwatch ends the watching of a job's roots.
func (e *exits) unwatch(j *Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, w := range e.roots {
		if w.job == j {
			syscall.Close(w.pidfd)
			delete(e.roots, id)
		}
	}
}

// ended tells whom it concerns that all roots of a job have ended.
func (e *exits) ended(j *Job) {
	f := j.options.Exited
	if j.options.Service != nil {
		f = j.lookAtEnd
	}
	if f != nil {
		e.running.Go(f)
	}
}

// close ends all watching and waits for what runs.
func (e *exits) close() {
	e.mu.Lock()
	if e.epoll != nil {
		e.epoll.Close()
		e.epoll = nil
	}
	for id, w := range e.roots {
		syscall.Close(w.pidfd)
		delete(e.roots, id)
	}
	e.mu.Unlock()
	e.running.Wait()
}
