package procinfo

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// clockGettime is clock_gettime(2).
func clockGettime(id int32) (time.Duration, bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
}

// processClock returns the CPU time of a process of our pid namespace, user and
// system of all its threads, in ns: to the nanosecond where /proc/PID/stat has
// ticks of 10 ms. It needs no permission, and works until the process is reaped.
func processClock(pid int) (ns int64, ok bool) {
	d, ok := clockGettime(^int32(pid)<<3 | 2) // CPUCLOCK_SCHED; see clock_getcpuclockid(3)
	return int64(d), ok
}

// sinceBoot returns the time since boot, with that of being suspended: what the
// start times of processes count from.
func sinceBoot() (time.Duration, bool) {
	const boottime = 7
	return clockGettime(boottime)
}

// uptime is sinceBoot for the processes of another machine's tree.
func (s *Jobs) uptime() (time.Duration, bool) {
	b, err := os.ReadFile(s.fs.proc("uptime"))
	v := parseUptime(b)
	return time.Duration(v.V * float64(time.Second)), err == nil && v.OK && v.V < 1e9
}

func ticksSinceBoot(n uint64) time.Duration { return time.Duration(min(n, 1<<48)) * tick }

// ownProcesses returns our pid among the processes of a tree, 0 if we are not
// in it, and whether they are those of our own pid namespace, so that the kernel
// may be asked of them.
func ownProcesses(fs FS) (self int, own bool) {
	b, err := os.ReadFile(fs.proc("self/status"))
	if err != nil {
		return 0, false
	}
	link, err := os.Readlink(fs.proc("self"))
	if err != nil {
		return 0, false
	}
	self, err = strconv.Atoi(link)
	if err != nil {
		return 0, false
	}
	// NSpid has our pid in each namespace, from that of the tree to our own.
	_, line, ok := bytes.Cut(b, []byte("\nNSpid:"))
	line, _ = nextLine(line)
	own = ok && string(bytes.TrimSpace(line)) == link && self == os.Getpid()
	if _, works := processClock(self); !works {
		own = false
	}
	return self, own
}
