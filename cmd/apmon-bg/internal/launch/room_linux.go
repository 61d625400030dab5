package launch

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// ErrNoRoom is returned if a limit leaves no room for processes, threads or
// descriptors beside the command. No command was started then; [Exec] may still
// start it.
var ErrNoRoom = errors.New("the limits leave no room for it")

const (
	ownThreads     = 10 // created in advance
	spareThreads   = 4  // that the runtime may create in addition
	ownDescriptors = 24 // that are free
)

// Prepare protects this process from a command that uses up all processes, threads
// or descriptors. Call it before Run, and before the first file, timer or goroutine:
// the runtime ends a process that cannot create a thread or the descriptors of its
// poller. Prepare creates the threads in the background; Run waits for them. The
// error wraps ErrNoRoom.
func Prepare() error {
	var fds []int
	var err error
	for err == nil && len(fds) < ownDescriptors {
		var fd int
		if fd, err = unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if err != nil && err != syscall.EBADF {
		return fmt.Errorf("%w: %d of %d descriptors: %w", ErrNoRoom, len(fds), ownDescriptors, err)
	}
	const needed = ownThreads + spareThreads + 2 // also for the witness and the command
	if n, err := roomFor(needed); err != nil {
		return fmt.Errorf("%w: %d of %d threads and processes: %w", ErrNoRoom, n, needed, err)
	}
	// More would only need more threads.
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	createThreads(ownThreads)
	return nil
}

// created ends its wait when createThreads has created all threads.
var created sync.WaitGroup

// createThreads makes the runtime create n threads, which it keeps for later use.
func createThreads(n int) {
	created.Add(n)
	for range n {
		go func() {
			// Hold a thread until each goroutine has one.
			runtime.LockOSThread()
			created.Done()
			created.Wait()
			runtime.UnlockOSThread()
		}()
	}
}

// roomFor reports whether n more processes can be created, and otherwise how many.
// It creates them unless the answer is obvious.
func roomFor(n int) (int, error) {
	if obviousRoom(uint64(n)) {
		return n, nil
	}
	pids := make([]uintptr, 0, n)
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i]--
	}
	syscall.ForkLock.Lock()
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	for err == nil && len(pids) < n {
		if pid, errno := forkPlaceholder(); errno != 0 {
			err = errno
		} else {
			pids = append(pids, pid)
		}
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	syscall.ForkLock.Unlock()
	for _, pid := range pids {
		syscall.Kill(int(pid), syscall.SIGKILL)
		wait4(int(pid), 0, nil)
	}
	return len(pids), err
}

// forkPlaceholder creates a process that does nothing: see [forkWitness].
//
//go:nosplit
//go:noinline
//go:norace
func forkPlaceholder() (pid uintptr, errno syscall.Errno) {
	pid, errno = rawFork(uintptr(syscall.SIGCHLD))
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// obviousRoom reports whether the limit of processes exceeds the number of all
// processes by n, and the limits of the cgroups leave room for n.
func obviousRoom(n uint64) bool {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return false
	}
	if used := readLoad().Tasks; !used.OK || limit.Cur < used.N+n {
		return false
	}
	text, _ := process.ReadFile("/proc/self/cgroup")
	for controller, root := range map[string]string{"": "/sys/fs/cgroup", "pids": "/sys/fs/cgroup/pids"} { // versions 2 and 1
		dir, ok := kernel.ParseCgroup(text, controller)
		for ; ok; dir, ok = path.Dir(dir), len(dir) > 1 {
			if most := readNumber(root + dir + "/pids.max"); most.OK {
				if used := readNumber(root + dir + "/pids.current"); !used.OK || most.N < used.N+n {
					return false
				}
			}
		}
	}
	return true
}

// readNumber reads a file of a cgroup that holds one number.
func readNumber(path string) kernel.Count {
	b, _ := process.ReadFile(path)
	return kernel.ParseNumber(b)
}
