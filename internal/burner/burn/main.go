//go:build linux

// Command burn is the burner of package burner. It creates processes by fork alone, as
// shells and C programs do. A forked process of a Go program may do no more than package
// syscall does between fork and exec: make system calls, within the stack that it has.
//
//	burn self MS          burns, then holds (waits for the end of standard input)
//	burn seq N MS         N children, one after the other, each waited for
//	burn par N MS         N children at once
//	burn tree N MS        N processes below it, each with up to 8 children
//	burn orphans N MS     N children of children that end at once; they hold
//	burn ignore N MS      N children, SIGCHLD ignored
//	burn daemon MS        fork, setsid, fork; the daemon holds
//	burn threads N MS     N threads
//	burn exec MS          burns, then executes itself in place to burn again
//	burn rootdies N MS    N children that hold; the root reports and ends at once
//	burn held N MS        N children that hold, and are waited for
//	burn mem MIB FORKS    memory that is its own, and shared with forks; all hold
//	burn files N          opens N more files
//	burn io BYTES FILE    a child that writes and reads a file
//	burn switch N         a child that waits N times
//	burn net N            sends N datagrams of 1000 bytes to 192.0.2.2
//	burn exit CODE        exits with the code
//
// All but exit and rootdies report their own time and hold in the end; held
// reports before, io and switch after their children, which hold, have ended. What a
// process uses after its report is that of its exit.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"unsafe"
)

func main() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	if len(os.Args) < 2 {
		fail("too few arguments")
	}
	switch mode := os.Args[1]; mode {
	case "self":
		burn(arg(1))
	case "seq":
		for range arg(1) {
			wait(child(arg(2), false))
		}
	case "par":
		children(arg(1), arg(2), false)
		waitAll(arg(1))
	case "held":
		children(arg(1), arg(2), true)
		report()
		holdRoot()
		waitAll(arg(1))
		return
	case "tree":
		tree(arg(1), arg(2))
	case "orphans":
		for range arg(1) {
			wait(orphan(arg(2), false))
		}
	case "daemon":
		wait(orphan(arg(1), true))
	case "ignore":
		signal.Ignore(syscall.SIGCHLD)
		for range arg(1) {
			child(arg(2), false)
			wait(anyChild) // until there is none: no process gets its status
		}
	case "threads":
		burnThreads(arg(1), arg(2))
	case "exec":
		burn(arg(1))
		err := syscall.Exec("/proc/self/exe", []string{"burn", "again", os.Args[2]}, os.Environ())
		fail(err.Error())
	case "again": // the clock continues
		burn(2 * arg(1))
	case "rootdies":
		children(arg(1), arg(2), true)
		report()
		os.Exit(0)
	case "mem":
		allocate(arg(1))
		children(arg(2), 0, true)
	case "files":
		openFiles(arg(1))
	case "io":
		transfer(arg(1), os.Args[3])
	case "switch":
		pid := switches(arg(1))
		holdRoot()
		wait(pid)
	case "net":
		datagrams(arg(1))
	case "exit":
		os.Exit(arg(1))
	default:
		fail("unknown mode " + mode)
	}
	report()
	holdRoot()
}

// arg returns a number after the mode.
func arg(i int) int {
	if i+1 >= len(os.Args) {
		fail("too few arguments")
	}
	n, err := strconv.Atoi(os.Args[i+1])
	if err != nil || n < 0 {
		fail("argument " + os.Args[i+1])
	}
	return n
}

// children makes n children at once.
func children(n, ms int, hold bool) {
	for range n {
		child(ms, hold)
	}
}

// waitAll waits for n children.
func waitAll(n int) {
	for range n {
		wait(anyChild)
	}
}

// burnThreads burns in n threads at once.
func burnThreads(n, ms int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			runtime.LockOSThread()
			burnThread(ms)
		})
	}
	all.Wait()
}

// allocate maps memory, and writes to each of its pages.
func allocate(mib int) {
	b, err := syscall.Mmap(-1, 0, mib<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		fail(err.Error())
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// openFiles opens n more files.
func openFiles(n int) {
	for range n {
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0); err != nil {
			fail(err.Error())
		}
	}
}

// datagrams sends n datagrams of 1000 bytes, each a frame of 1042 bytes on Ethernet.
func datagrams(n int) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		fail(err.Error())
	}
	b := make([]byte, 1000)
	for range n {
		if err := syscall.Sendto(fd, b, 0, &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}}); err != nil {
			fail(err.Error())
		}
	}
}

func fail(s string) {
	fmt.Fprintln(os.Stderr, "burn:", s)
	os.Exit(2)
}

// holdRoot is hold for the process that has the Go runtime: a system call that the
// runtime does not see would be interrupted every 10 ms, to preempt it, and the
// process would use CPU time after its report.
func holdRoot() {
	var b [1]byte
	for {
		n, err := syscall.Read(0, b[:])
		if err != syscall.EINTR && n <= 0 {
			return
		}
	}
}

// The functions below run in forked processes, too: they neither grow the stack nor
// allocate, and receive no signal for the runtime's threads.

//go:nosplit
func clock(id uintptr) int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return int64(ts.Sec)*1e9 + int64(ts.Nsec)
}

// burn burns until the process has used ms milliseconds of CPU time.
//
//go:nosplit
func burn(ms int) { burnClock(2, ms) }

// burnThread does the same for a thread.
//
//go:nosplit
func burnThread(ms int) { burnClock(3, ms) }

var sink [1]int

//go:nosplit
func burnClock(id uintptr, ms int) {
	for clock(id) < int64(ms)*1e6 {
		for i := 0; i < 20000; i++ {
			sink[0] = i
		}
	}
}

//go:nosplit
func report() {
	pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	b := [2]uint64{uint64(pid), uint64(clock(2))}
	syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&b)), 16)
}

// hold waits for the end of standard input.
//
//go:nosplit
func hold() {
	var b [1]byte
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		if errno != syscall.EINTR && (errno != 0 || n == 0) {
			return
		}
	}
}

//go:nosplit
func exit() {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// fork returns 0 in the child.
//
//go:nosplit
//go:norace
func fork() uintptr {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 3, 0, 0)
	}
	return pid
}

// child forks a process that burns, reports, and may hold.
//
//go:nosplit
func child(ms int, holds bool) uintptr {
	pid := fork()
	if pid == 0 {
		burn(ms)
		report()
		if holds {
			hold()
		}
		exit()
	}
	return pid
}

// orphan forks a process that forks another, which burns, reports and holds.
//
//go:nosplit
func orphan(ms int, daemon bool) uintptr {
	pid := fork()
	if pid == 0 {
		if daemon {
			syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
		}
		child(ms, true)
		exit()
	}
	return pid
}

const anyChild = ^uintptr(0)

//go:nosplit
func wait(pid uintptr) {
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_WAIT4, pid, 0, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

// tree creates n processes below this one. Each creates, and waits for, its own part of
// them.
//
//go:nosplit
func tree(n, ms int) {
top:
	children := 0
	for left := n; left > 0; children++ {
		part := (n + 7) / 8
		if part > left {
			part = left
		}
		left -= part
		if fork() == 0 {
			n = part - 1
			if n > 0 {
				goto top
			}
			children = 0
			goto end
		}
	}
end:
	for ; children > 0; children-- {
		wait(anyChild)
	}
	if ms > 0 {
		burn(ms)
	}
	if !root() {
		report()
		exit()
	}
}

var rootPID = syscall.Getpid()

//go:nosplit
func root() bool {
	pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	return int(pid) == rootPID
}

// transfer lets a child write and read n bytes.
func transfer(n int, file string) {
	b := make([]byte, 1<<16)
	fd, err := syscall.Open(file, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, 0o600)
	if err != nil {
		fail(err.Error())
	}
	pid := transferChild(fd, n, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	holdRoot()
	wait(pid)
	runtime.KeepAlive(b)
}

//go:nosplit
func transferChild(fd, n int, b, size uintptr) uintptr {
	pid := fork()
	if pid == 0 {
		for at := 0; at < n; at += int(size) {
			syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), b, size)
		}
		syscall.RawSyscall(syscall.SYS_FSYNC, uintptr(fd), 0, 0)
		syscall.RawSyscall(syscall.SYS_LSEEK, uintptr(fd), 0, 0)
		for at := 0; at < n; at += int(size) {
			syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), b, size)
		}
		report()
		hold()
		exit()
	}
	return pid
}

// switches lets a child wait n times.
//
//go:nosplit
func switches(n int) uintptr {
	pid := fork()
	if pid == 0 {
		ts := syscall.Timespec{Nsec: 50000}
		for i := 0; i < n; i++ {
			syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
		report()
		hold()
		exit()
	}
	return pid
}
