package launch

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// shell runs files of unknown format, as in execvp(3).
const shell = "/bin/sh"

// start starts a command as execvp(3) does, in the directory cgroup unless that is "",
// from a process that becomes the witness. The command ignores the signals of
// ignored. cgroupErr is the reason why the command was started outside the cgroup. err is a
// [syscall.Errno], or wraps [ErrNoRoom].
func start(args []string, cgroup string, ignored uint64) (pid int, w *witness, cgroupErr, err error) {
	paths, err := lookup(args[0])
	if len(paths) == 0 {
		return 0, nil, nil, err
	}
	p, free, err := newPlan(paths, args, ignored)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	defer free()
	if cgroup != "" {
		var fd int
		if fd, cgroupErr = unix.Open(cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); cgroupErr == nil {
			defer unix.Close(fd)
			p.cgroup = true
			p.clone = cloneArgs{flags: unix.CLONE_INTO_CGROUP | unix.CLONE_PARENT, cgroup: uint64(fd)}
		}
	}
	var reports int
	w, reports, err = newWitness(p)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	defer unix.Close(reports)
	refused := syscall.EIO // if there is neither a command nor a report
	for {
		var r report
		b := (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:]
		n, err := unix.Read(reports, b)
		if err == syscall.EINTR {
			continue
		}
		if n != len(b) {
			break // the command runs, or no process was created
		}
		switch r.kind {
		case reportCgroup:
			cgroupErr = syscall.Errno(r.value)
		case reportFork:
			refused = syscall.Errno(r.value)
		case reportPID:
			pid = int(r.value)
		case reportExec:
			w.discard()
			wait4(pid, unix.WALL, nil)
			return 0, nil, cgroupErr, syscall.Errno(r.value)
		}
	}
	if pid == 0 {
		w.discard()
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrNoRoom, refused)
	}
	return pid, w, cgroupErr, nil
}

// lookup returns the existing files that may be the command, in order; the error is the
// reason why there is none. A stat is cheaper than an exec.
func lookup(name string) (paths []string, err error) {
	err = syscall.ENOENT
	for _, path := range candidates(name) {
		if e := unix.Stat(path, new(unix.Stat_t)); notThere(errnoOf(e)) {
			err = e
		} else {
			paths = append(paths, path)
		}
	}
	return paths, err
}

func errnoOf(err error) syscall.Errno {
	errno, _ := err.(syscall.Errno)
	return errno
}

// notThere reports whether execvp(3) tries the next folder after this error.
//
//go:nosplit
//go:norace
func notThere(err syscall.Errno) bool {
	return err == syscall.ENOENT || err == syscall.ENOTDIR || err == syscall.ESTALE || err == syscall.ENODEV || err == syscall.ETIMEDOUT
}

// Exec writes one line to standard error, if that does not block, and replaces this
// process by a command, as execvp(3) does. It does not return: if the command cannot
// be executed, Exec writes the error and exits with 127 if the command does not exist,
// else with 126.
func Exec(name, why string, args []string) {
	say := func(line string) {
		// Use no timer and no file of package os: see Prepare.
		fds := []unix.PollFd{{Fd: 2, Events: unix.POLLOUT}}
		if n, _ := unix.Poll(fds, 100); n == 1 {
			_, _ = unix.Write(2, []byte(name+": "+line+"\n"))
		}
	}
	say(why)
	r, err := execute(args)
	say(err.Error())
	os.Exit(r.Code())
}

func execute(args []string) (Result, error) {
	if len(args) == 0 {
		return Result{ExitCode: 127}, errNoCommand
	}
	paths, err := lookup(args[0])
	denied, limit := false, fileLimit()
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for _, path := range paths {
		if err = syscall.Exec(path, args, os.Environ()); err == syscall.ENOEXEC {
			err = syscall.Exec(shell, append([]string{shell, path}, args[1:]...), os.Environ())
		}
		if denied = denied || err == syscall.EACCES; err != syscall.EACCES && !notThere(errnoOf(err)) {
			return notStarted(args, err)
		}
	}
	if denied {
		err = syscall.EACCES
	}
	return notStarted(args, err)
}

// notStarted returns the result of a command that could not be started.
func notStarted(args []string, err error) (Result, error) {
	code := 126
	if err == syscall.ENOENT {
		code = 127
	}
	return Result{ExitCode: code}, fmt.Errorf("%s: %w", args[0], err)
}

// candidates returns the files that may be the command, in order.
func candidates(name string) []string {
	if name == "" {
		return nil
	}
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = "/bin:/usr/bin" // as in the C library
	}
	dirs := strings.Split(path, ":")
	for i, dir := range dirs {
		if dir == "" {
			dirs[i] = name
		} else {
			dirs[i] = dir + "/" + name
		}
	}
	return dirs
}

// A plan is the data that the witness and the process of the command need before the
// exec, when they cannot allocate. It is outside of the Go heap, which they do not have, and
// has no pointers into the heap.
type plan struct {
	parent             int
	out, reports, last int // the two pipes; the highest descriptor, see lastDescriptor
	set                [2]uint64
	setSize            uintptr // size of a signal set in the kernel
	zero               unix.Timespec
	name               [16]byte // NUL at the end
	args               *byte    // the command line of this process
	size               int

	drop  unsafe.Pointer // [drops]span: the memory that the child does not need
	drops int

	cgroup bool // start the command with clone
	clone  cloneArgs
	mask   unix.Sigset_t // for the command
	files  unix.Rlimit   // for the command
	reset  uint64        // signals that get their default action
	action [64]byte      // SIG_DFL: all zeros, in any order of the fields
	shell  *byte
	env    unsafe.Pointer
	try    unsafe.Pointer // [tries]try
	tries  int
}

// A span is a range of memory.
type span struct{ start, end uintptr }

// A try is a file to execute, by itself and by the shell.
type try struct {
	path        *byte
	argv, shell unsafe.Pointer
}

// cloneArgs is the struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// A report is a message of the witness or of the process of the command about the start.
type report struct{ kind, value uint32 }

const (
	reportPID    = iota + 1 // pid: the process was created
	reportCgroup            // errno: it cannot be created in the cgroup
	reportFork              // errno: it cannot be created
	reportExec              // errno: it cannot execute the command
)

// stackMargin is more than the stack that a leaf function uses. It is a multiple of
// the page size.
const stackMargin = 64 << 10

// block allocates parts of memory outside of the Go heap.
type block struct{ rest []byte }

func (b *block) take(size int) unsafe.Pointer {
	p := unsafe.Pointer(unsafe.SliceData(b.rest))
	b.rest = b.rest[(size+15)&^15:]
	return p
}

func (b *block) string(s string) *byte {
	p := b.take(len(s) + 1)
	copy(unsafe.Slice((*byte)(p), len(s)), s)
	return (*byte)(p)
}

// strings returns an argv: pointers, and nil at the end.
func (b *block) strings(list ...*byte) unsafe.Pointer {
	p := b.take((len(list) + 1) * int(unsafe.Sizeof(uintptr(0))))
	copy(unsafe.Slice((**byte)(p), len(list)), list)
	return p
}

// newPlan returns a plan to execute the first of paths that can be executed, with args
// and the environment of this process.
func newPlan(paths, args []string, ignored uint64) (p *plan, free func(), err error) {
	env := os.Environ()
	size := 1 << 16 // the plan, and the rounding of take
	for _, list := range [][]string{paths, args, env} {
		for _, s := range list {
			size += len(s) + 64
		}
	}
	size += len(paths) * (len(args) + 8) * 16
	spans := ownMemory()
	size += len(spans) * int(unsafe.Sizeof(span{}))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, err
	}
	b := &block{mem}
	p = (*plan)(b.take(int(unsafe.Sizeof(plan{}))))
	p.drops, p.drop = len(spans), b.take(len(spans)*int(unsafe.Sizeof(span{})))
	copy(unsafe.Slice((*span)(p.drop), len(spans)), spans)
	p.reset, p.files, p.setSize = ^ignored, fileLimit(), 8
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		p.setSize = 16
	}
	p.shell = b.string(shell)
	own := func(list []string) (copies []*byte) {
		for _, s := range list {
			copies = append(copies, b.string(s))
		}
		return copies
	}
	p.env = b.strings(own(env)...)
	argv := own(args)
	plain := b.strings(argv...)
	p.tries, p.try = len(paths), b.take(len(paths)*int(unsafe.Sizeof(try{})))
	for i, path := range own(paths) {
		unsafe.Slice((*try)(p.try), len(paths))[i] = try{path, plain, b.strings(append([]*byte{p.shell, path}, argv[1:]...)...)}
	}
	return p, func() { unix.Munmap(mem) }, nil
}

// fileLimit returns the initial limit of open files. Package syscall raises the limit and
// does not export the initial value, but a failing syscall.Exec restores it.
var fileLimit = sync.OnceValue(func() (limit unix.Rlimit) {
	var raised unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &raised)
	_ = syscall.Exec("", []string{""}, nil)
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &raised)
	return limit
})

// kept is in the data segment of the program, which the child needs.
var kept byte

// ownMemory returns the memory that the child does not need: the heap of Go and of C,
// which is private, writable and not part of a file.
func ownMemory() (spans []span) {
	maps, _ := process.ReadFile("/proc/self/maps")
	data := uint64(uintptr(unsafe.Pointer(&kept)))
	kernel.ParseMaps(maps, func(m kernel.Mapping) {
		anonymous := len(m.Path) == 0 || bytes.HasPrefix(m.Path, []byte("[anon"))
		if string(m.Perms) == "rw-p" && m.Inode == 0 && anonymous && (data < m.Start || data >= m.End) {
			spans = append(spans, span{uintptr(m.Start), uintptr(m.End)})
		}
	})
	return spans
}

// becomeCommand executes the command in a process without a runtime: see
// [forkWitness].
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func becomeCommand(p *plan) {
	pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	sendReport(p, reportPID, pid)
	// From here on, signals must not reach the handlers of the runtime.
	for sig := uintptr(1); sig <= 64; sig++ {
		if p.reset&(1<<(sig-1)) != 0 {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&p.action)), 0, p.setSize, 0, 0)
		}
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.mask)), 0, p.setSize, 0, 0)

	syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&p.files)), 0, 0, 0)

	errno, denied := syscall.ENOENT, false
	for i := 0; i < p.tries; i++ {
		t := (*try)(unsafe.Add(p.try, uintptr(i)*unsafe.Sizeof(try{})))
		_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(t.path)), uintptr(t.argv), uintptr(p.env))
		if errno == syscall.ENOEXEC {
			_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(p.shell)), uintptr(t.shell), uintptr(p.env))
		}
		if errno == syscall.EACCES {
			denied = true
		} else if !notThere(errno) {
			denied = false
			break
		}
	}
	if denied {
		errno = syscall.EACCES
	}
	sendReport(p, reportExec, uintptr(errno))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

//go:nosplit
//go:norace
func sendReport(p *plan, kind uint32, value uintptr) {
	r := report{kind, uint32(value)}
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.reports), uintptr(unsafe.Pointer(&r)), unsafe.Sizeof(r))
}
