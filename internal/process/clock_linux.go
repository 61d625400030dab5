package process

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockGettime reads a clock: see clock_gettime(2). It makes the system call directly, as
// the call never blocks: unix.ClockGettime takes about 1.3 times as long, because it
// prepares the scheduler for a call that does.
func clockGettime(id int32) (time.Duration, bool) {
	var ts unix.Timespec
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
}

// CPUClock returns the CPU time of a process of our pid namespace, user and system time of
// all its threads, in ns. It is exact to the nanosecond, while /proc/PID/stat is rounded to
// ticks of 10 ms. It needs no permission, and works until the process is reaped.
func CPUClock(pid int) (ns int64, ok bool) {
	const cpuclockSched = 2 // CPUCLOCK_SCHED of linux/posix-timers.h
	d, ok := clockGettime(^int32(pid)<<3 | cpuclockSched)
	return int64(d), ok
}

// SinceBoot returns the time since boot, including time in suspend. The start times of
// processes are measured from the same moment.
func SinceBoot() (time.Duration, bool) {
	return clockGettime(unix.CLOCK_BOOTTIME)
}

// TicksSinceBoot converts a start time in /proc/PID/stat to the time since boot.
func TicksSinceBoot(n uint64) time.Duration { return time.Duration(min(n, 1<<48)) * Tick }

// Tick is the unit of times in /proc/PID/stat. It is 10 ms on all architectures of Linux
// that Go supports.
const Tick = 10 * time.Millisecond

// Nanoseconds converts clock ticks to ns. Values above 174 years are cut off.
func Nanoseconds(n uint64) int64 { return int64(min(n, 1<<39)) * int64(Tick) }
