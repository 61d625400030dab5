package launch

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A witness is a child in our process group that blocks all signals and tells
// which of the forwarded ones it gets. It is a fork without an exec: an exec of
// ourselves would cost a second start of the runtime and its memory.
type witness struct {
	pid   int                 // 0 once it is reaped
	heard chan syscall.Signal // closed when it has ended
}

// mark is a signal to the witness that stands behind all others: a process takes
// what is pending in the order of the numbers.
const mark = syscall.Signal(64)

// newWitness makes a witness that ends with the calling thread, which must be
// locked.
func newWitness() (*witness, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	c := witnessChild{parent: os.Getpid(), out: pipe[1], last: lastDescriptor(), set: 1 << (mark - 1)}
	for _, s := range forwarded {
		c.set |= 1 << (s - 1)
	}
	copy(c.name[:], "signal-witness")
	c.args, c.size = argsMemory()

	// Not a signal may reach the runtime's handlers in the child, where no
	// runtime is; nor may a fork under way elsewhere leave its pipe there.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i]--
	}
	syscall.ForkLock.Lock()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		syscall.ForkLock.Unlock()
		unix.Close(pipe[0])
		unix.Close(pipe[1])
		return nil, err
	}
	pid, errno := forkWitness(&c)
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	syscall.ForkLock.Unlock()
	unix.Close(pipe[1])
	if errno != 0 {
		unix.Close(pipe[0])
		return nil, errno
	}

	w := &witness{pid: int(pid), heard: make(chan syscall.Signal, 64)}
	in := os.NewFile(uintptr(pipe[0]), "witness")
	go func() {
		defer in.Close()
		defer close(w.heard)
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); n != 1 || err != nil {
				return
			}
			w.heard <- syscall.Signal(b[0])
		}
	}()
	return w, nil
}

// ask has the witness tell mark, once it has told everything before.
func (w *witness) ask() {
	if w.pid != 0 {
		syscall.Kill(w.pid, mark)
	}
}

// end ends the witness and reaps it.
func (w *witness) end() {
	if w.pid != 0 {
		syscall.Kill(w.pid, syscall.SIGKILL)
		wait4(w.pid, 0, nil)
		w.pid = 0
	}
	for range w.heard {
	}
}

// witnessChild is what the child needs: nothing can be made there.
type witnessChild struct {
	parent    int
	out, last int // the pipe; the highest descriptor
	set       uint64
	name      [16]byte // NUL at the end
	args      *byte    // our command line in memory
	size      int
}

// forkWitness forks; the child never returns. Of a process with many threads the
// child has this one only, so it can do system calls and nothing of the runtime:
// no allocation, no growing stack, no preemption, as syscall.forkAndExecInChild.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func forkWitness(c *witnessChild) (pid uintptr, errno syscall.Errno) {
	if runtime.GOARCH == "s390x" {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, 0, uintptr(syscall.SIGCHLD), 0, 0, 0, 0)
	} else {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	}
	if errno != 0 || pid != 0 {
		return pid, errno
	}

	// End with the thread that made us, also if it has ended already.
	syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
	if ppid, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); ppid != uintptr(c.parent) {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	// Whoever looks for us by name means our parent, and not everyone.
	syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&c.name)), 0)
	for i := 0; i < c.size; i++ {
		b := byte(0)
		if i < len(c.name) {
			b = c.name[i&15]
		}
		*(*byte)(unsafe.Add(unsafe.Pointer(c.args), i)) = b
	}
	// Whoever reads from a pipe must not wait for us.
	for fd := 0; fd <= c.last; fd++ {
		if fd != c.out {
			syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
		}
	}
	for {
		sig, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&c.set)), 0, 0, 8, 0, 0)
		if errno == 0 {
			b := byte(sig)
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.out), uintptr(unsafe.Pointer(&b)), 1)
		} else if errno != syscall.EINTR && errno != syscall.EAGAIN {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
		}
	}
}

// argsMemory is where the kernel put our command line, which /proc/PID/cmdline
// shows: one string behind the other.
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

// lastDescriptor is the highest descriptor that is open, about.
func lastDescriptor() int {
	last := 1023
	if dir, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		if len(names) > 0 {
			last = 0
		}
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil {
				last = max(last, fd)
			}
		}
	}
	return last
}
