package launch

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
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
	if obviousRoom(n) {
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
func obviousRoom(n int) bool {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return false
	}
	load := bytes.Fields(readSmall("/proc/loadavg"))
	if len(load) < 4 {
		return false
	}
	_, all, _ := bytes.Cut(load[3], []byte("/"))
	if used, ok := number(all); !ok || limit.Cur < uint64(used+n) {
		return false
	}
	for line := range bytes.Lines(readSmall("/proc/self/cgroup")) {
		_, line, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		controllers, dir, _ := bytes.Cut(line, []byte(":"))
		root := "/sys/fs/cgroup"
		if string(controllers) == "pids" {
			root += "/pids"
		} else if len(controllers) > 0 {
			continue
		}
		for dir := string(dir); ; dir = path.Dir(dir) {
			if most, ok := number(readSmall(root + dir + "/pids.max")); ok {
				if used, ok := number(readSmall(root + dir + "/pids.current")); !ok || most < used+n {
					return false
				}
			}
			if len(dir) < 2 {
				break
			}
		}
	}
	return true
}

func number(b []byte) (int, bool) {
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	return n, err == nil
}

// readSmall reads up to 4 KB of a kernel file without the runtime's poller: that
// needs descriptors, and ends the process if there are none.
func readSmall(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 4096)
	n, _ := unix.Read(fd, b)
	return b[:max(n, 0)]
}
