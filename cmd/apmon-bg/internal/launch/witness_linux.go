package launch

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
)

// A witness is a child in the process group that starts the command, and then blocks all
// signals and reports the forwarded ones that it receives. It is a fork without an exec,
// to save a second start of the runtime and its memory.
type witness struct {
	pid   int
	heard chan syscall.Signal // closed when it has ended
}

// mark is a signal that the witness receives after all others: the kernel delivers
// pending signals in the order of their numbers.
const mark = syscall.Signal(64)

// newWitness creates a witness that starts the command of p and ends with the calling
// thread, which must be locked. reports is a descriptor to read [report] values from.
func newWitness(p *plan) (w *witness, reports int, err error) {
	var out, in [2]int
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, 0, err
	}
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		unix.Close(out[0])
		unix.Close(out[1])
		return nil, 0, err
	}
	p.parent, p.out, p.reports, p.last = os.Getpid(), out[1], in[1], lastDescriptor()
	p.set[0] = bit(mark)
	for _, s := range forwarded() {
		p.set[0] |= bit(s)
	}
	copy(p.name[:], "signal-witness")
	p.args, p.size = argsMemory()

	// Block all signals: the child has no runtime to handle them. Lock out other
	// forks: their pipes must not stay open in the child.
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i]--
	}
	syscall.ForkLock.Lock()
	var pid uintptr
	if err = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &p.mask); err == nil {
		var errno syscall.Errno
		if pid, errno = forkWitness(p); errno != 0 {
			err = errno
		}
		unix.PthreadSigmask(unix.SIG_SETMASK, &p.mask, nil)
	}
	syscall.ForkLock.Unlock()
	unix.Close(out[1])
	unix.Close(in[1])
	if err != nil {
		unix.Close(out[0])
		unix.Close(in[0])
		return nil, 0, err
	}

	w = &witness{pid: int(pid), heard: make(chan syscall.Signal, 64)}
	f := os.NewFile(uintptr(out[0]), "witness")
	go func() {
		defer f.Close()
		defer close(w.heard)
		var b [1]byte
		for {
			if n, err := f.Read(b[:]); n != 1 || err != nil {
				return
			}
			w.heard <- syscall.Signal(b[0])
		}
	}()
	return w, in[0], nil
}

// ask makes the witness report mark after all earlier signals.
func (w *witness) ask() {
	syscall.Kill(w.pid, mark)
}

// end ends the witness, without a wait. Its pid is valid until it is reaped: see [Result.Release].
func (w *witness) end() {
	syscall.Kill(w.pid, syscall.SIGKILL)
}

// discard ends the witness and reaps it.
func (w *witness) discard() {
	w.end()
	wait4(w.pid, unix.WALL, nil)
}

// forkWitness forks; the child never returns. The child has only this thread, so it
// must not use the runtime: no allocation, no stack growth, no preemption, as in
// syscall.forkAndExecInChild.
//
// The child has little memory when it starts the command: ru_maxrss of a command includes the
// memory of its process before the exec. The fork does not copy the Go heap: otherwise each
// page that the parent changes from then on would be copied. The child releases the rest; with
// cgo, the kernel writes to some of it during the fork (rseq). CLONE_PARENT makes the command
// a child of the calling process.
//
// The witness sends no signal when it ends, so that only a wait with __WALL sees it,
// and it can stay a zombie without hiding other children. execve(2) resets
// the signal of the command to SIGCHLD.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func forkWitness(p *plan) (pid uintptr, errno syscall.Errno) {
	here := uintptr(unsafe.Pointer(&pid)) &^ (stackMargin - 1)
	advise(p, here, true, unix.MADV_DONTFORK)
	pid, errno = rawFork(0)
	if errno != 0 || pid != 0 {
		advise(p, here, true, unix.MADV_DOFORK)
		return pid, errno
	}

	// End with the parent thread, also if it has ended already.
	syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
	if ppid, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); ppid != uintptr(p.parent) {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	advise(p, here, false, unix.MADV_DONTNEED)
	advise(p, here, true, unix.MADV_DONTNEED) // if the kernel has refused MADV_DONTFORK

	errno = syscall.ENOSYS
	if p.cgroup {
		if pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), unsafe.Sizeof(p.clone), 0); errno != 0 {
			sendReport(p, reportCgroup, uintptr(errno))
		}
	}
	if errno != 0 {
		pid, errno = rawFork(syscall.CLONE_PARENT)
	}
	if errno == 0 && pid == 0 {
		becomeCommand(p)
	}
	if errno != 0 {
		sendReport(p, reportFork, uintptr(errno))
	}
	// Discard the signals from before the start: the command did not receive them.
	for errno == 0 || errno == syscall.EINTR {
		_, _, errno = syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&p.set)), 0, uintptr(unsafe.Pointer(&p.zero)), p.setSize, 0, 0)
	}

	// Change the name: pkill and killall must find the parent only.
	syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&p.name)), 0)
	for i := 0; i < p.size; i++ {
		b := byte(0)
		if i < len(p.name) {
			b = p.name[i&15]
		}
		*(*byte)(unsafe.Add(unsafe.Pointer(p.args), i)) = b
	}
	// Close all other descriptors: readers of pipes wait for this.
	if p.last < 0 {
		if p.out > 0 {
			syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, uintptr(p.out)-1, 0)
		}
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(p.out)+1, uintptr(^uint32(0)), 0)
	}
	for fd := 0; fd <= p.last; fd++ {
		if fd != p.out {
			syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
		}
	}
	for {
		sig, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&p.set)), 0, 0, p.setSize, 0, 0)
		if errno == 0 {
			b := byte(sig)
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.out), uintptr(unsafe.Pointer(&b)), 1)
		} else if errno != syscall.EINTR && errno != syscall.EAGAIN {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
		}
	}
}

// advise calls madvise on the ranges of p.drop except the stack around here: on the range that
// contains here if mapping is true, otherwise on all others.
//
//go:nosplit
//go:norace
func advise(p *plan, here uintptr, mapping bool, advice uintptr) {
	for i := 0; i < p.drops; i++ {
		s := (*span)(unsafe.Add(p.drop, uintptr(i)*unsafe.Sizeof(span{})))
		if (s.start <= here && here < s.end) != mapping {
			continue
		}
		if low := min(s.end, here-stackMargin); low > s.start {
			syscall.RawSyscall(syscall.SYS_MADVISE, s.start, low-s.start, advice)
		}
		if high := max(s.start, here+2*stackMargin); high < s.end {
			syscall.RawSyscall(syscall.SYS_MADVISE, high, s.end-high, advice)
		}
	}
}

// rawFork is fork(2) with flags of clone(2).
//
//go:nosplit
//go:norace
func rawFork(flags uintptr) (pid uintptr, errno syscall.Errno) {
	if runtime.GOARCH == "s390x" {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, 0, flags, 0, 0, 0, 0)
	} else {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	}
	return pid, errno
}

// argsMemory returns the memory of the command line, which /proc/PID/cmdline shows:
// consecutive strings.
func argsMemory() (start *byte, size int) {
	for _, arg := range os.Args {
		p := unsafe.StringData(arg)
		if start == nil {
			start = p
		} else if p != (*byte)(unsafe.Add(unsafe.Pointer(start), size)) {
			break
		}
		size += len(arg) + 1
	}
	return start, size
}

// lastDescriptor returns an upper bound of the open descriptors, or -1 if the kernel
// can close all at once (since Linux 5.9).
func lastDescriptor() int {
	none := uintptr(^uint32(0))
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, none, none, 0); errno == 0 {
		return -1
	}
	last := 0
	if err := process.Numbers("/proc/self/fd", func(fd int) { last = max(last, fd) }); err != nil {
		return 1023
	}
	return last
}
