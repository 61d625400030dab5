package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockGettime is clock_gettime(2).
func clockGettime(id int32) (time.Duration, bool) {
	var ts unix.Timespec
	err := unix.ClockGettime(id, &ts)
	return time.Duration(ts.Nano()), err == nil
}

// CPUClock returns the CPU time of a process of our pid namespace, user and
// system of all its threads, in ns: to the nanosecond where /proc/PID/stat has
// ticks of 10 ms. It needs no permission, and works until the process is reaped.
func CPUClock(pid int) (ns int64, ok bool) {
	d, ok := clockGettime(^int32(pid)<<3 | 2) // CPUCLOCK_SCHED; see clock_getcpuclockid(3)
	return int64(d), ok
}

// SinceBoot returns the time since boot, with that of being suspended: what the
// start times of processes count from.
func SinceBoot() (time.Duration, bool) {
	return clockGettime(unix.CLOCK_BOOTTIME)
}

func TicksSinceBoot(n uint64) time.Duration { return time.Duration(min(n, 1<<48)) * Tick }

// Clock ticks of /proc are of 10 ms on all of Linux's architectures that Go
// knows.
const Tick = 10 * time.Millisecond

// Nanoseconds returns clock ticks in ns: at most 174 years.
func Nanoseconds(n uint64) int64 { return int64(min(n, 1<<39)) * int64(Tick) }
