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

// exits notices at once when the roots of jobs end. It holds a pidfd for each root in one
// epoll set. Go's poller waits for the set, so that no thread is blocked. Without pidfds
// (before Linux 5.3, or if the processes are those of another pid namespace), scans
// notice the end.
type exits struct {
	forest  *forest
	running sync.WaitGroup

	mu    sync.Mutex
	epoll *os.File // nil for none
	fd    int      // of epoll
	last  int32
	roots map[int32]watchedRoot
}

// watchedRoot is a root of a job with its pidfd.
type watchedRoot struct {
	tree  *tree
	proc  *proc
	pidfd int
	io    *os.File // see proc
}

// maxWatched bounds the roots that are watched before those of services are left to the
// scans: the rest of the program needs descriptors, too.
const maxWatched = 256

// watch begins to watch roots of a tree. If scarce, they are left to the scans when many
// roots are watched already.
func (e *exits) watch(s *forest, t *tree, roots []*proc, scarce bool) {
	if !s.own {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.epoll == nil && !e.start(s) {
		return
	}
	for _, p := range roots {
		if scarce && len(e.roots) >= maxWatched {
			return
		}
		pidfd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			continue
		}
		// The pid may be another process's by now: then the scan notices.
		st, err := s.stat(p.pid)
		e.last++
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: e.last}
		if err != nil || st.Start != p.start || unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, pidfd, &ev) != nil {
			unix.Close(pidfd)
			continue
		}
		e.roots[e.last] = watchedRoot{t, p, pidfd, p.io}
	}
}

// start makes the epoll set and the goroutine that waits for it.
func (e *exits) start(s *forest) bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	// Package os hands only non-blocking descriptors to the poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return false
	}
	e.forest, e.fd, e.epoll, e.roots = s, fd, os.NewFile(uintptr(fd), "epoll"), map[int32]watchedRoot{}
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
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			for {
				if n, err = unix.EpollWait(int(fd), events[:], 0); err != unix.EINTR {
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
	delete(e.roots, id)
	e.mu.Unlock()
	if !ok {
		return
	}
	defer unix.Close(w.pidfd)
	// Until its parent waits for it, it can be read a last time. Do that now, not after a
	// scan that may be under way.
	s := e.forest
	now := time.Now()
	pid := strconv.Itoa(w.proc.pid)
	read := func(name string) []byte {
		b, _ := os.ReadFile(s.fs.ProcPath(pid + "/" + name))
		return b
	}
	cpu, timed := process.CPUClock(w.proc.pid)
	statFile := read("stat")
	stat, ok := kernel.ParsePIDStat(statFile)
	var io kernel.PIDIO
	if w.io != nil {
		b := make([]byte, 4096)
		n, _ := w.io.ReadAt(b, 0)
		io = kernel.ParsePIDIO(b[:n])
	}
	status := kernel.ParseStatus(read("status"))
	exit, known := exitStatus(w.pidfd, statFile, &status)

	s.mu.Lock()
	defer s.mu.Unlock()
	p := w.proc
	p.ended = true
	// Until the next scan, times that it took over may be counted with its children,
	// too.
	s.scanned = time.Time{}
	if ok && stat.Start == p.start && !p.dead {
		p.noteUnwaited(p.setStat(&stat))
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
	if known && len(w.tree.roots) == 1 {
		w.tree.exit = &exit
	}
	if !w.tree.removed && !s.closed {
		w.tree.checkEnd(now)
	}
}

// exitStatus returns the wait status of a process that has ended, if this process may know
// it: of a zombie from its stat file, which hides it from strangers behind a 0, and of a
// process that was reaped from its pidfd (Linux 6.15).
func exitStatus(pidfd int, stat []byte, status *kernel.Status) (exit syscall.WaitStatus, known bool) {
	if n := kernel.ParseExitStatus(stat); n.OK && mayTrace(status) {
		return syscall.WaitStatus(n.N), true
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if unix.IoctlPidfdInfo(pidfd, &info) != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.Exit_code), true
}

// mayTrace reports whether this process has the ptrace access mode "read" for a zombie.
func mayTrace(of *kernel.Status) bool {
	own := kernel.ParseStatus(readSmall("/proc/self/status"))
	const ptrace = 1 << unix.CAP_SYS_PTRACE
	if own.CapEff.OK && own.CapEff.N&ptrace != 0 {
		return true
	}
	all := func(ids []byte, id int) bool {
		n := 0
		for len(ids) > 0 {
			var c kernel.Count
			if c, ids = kernel.NextUint(ids); !c.OK || c.N != uint64(id) {
				return false
			}
			n++
		}
		return n >= 3
	}
	return all(of.UIDs, os.Geteuid()) && all(of.GIDs, os.Getegid())
}

// unwatch ends the watching of a tree's roots.
func (e *exits) unwatch(t *tree) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, w := range e.roots {
		if w.tree == t {
			unix.Close(w.pidfd)
			delete(e.roots, id)
		}
	}
}

// close ends all watching, and waits for the goroutines.
func (e *exits) close() {
	e.mu.Lock()
	if e.epoll != nil {
		e.epoll.Close()
		e.epoll = nil
	}
	for id, w := range e.roots {
		unix.Close(w.pidfd)
		delete(e.roots, id)
	}
	e.mu.Unlock()
	e.running.Wait()
}
