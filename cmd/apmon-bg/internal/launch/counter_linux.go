package launch

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A counter is an inherited perf event, perf_event_open(2): the time for which
// the processes that come from one exec were on a CPU.
type counter struct {
	mu    sync.Mutex
	file  *os.File // nil for none, and when it is closed
	total time.Duration
	known bool // total is what it was when it was closed
}

// newCounter prepares the count of what the calling thread forks next and what
// that executes; the thread must live as long as the counter.
//
// exclude_kernel is what makes it free to everyone, and has no say in what is
// counted: the kernel's task clock runs while the task does, in user mode or
// not. (A burner of nothing but system time is counted in full: TestCPUTime.)
//
// It is as exact as the clock: it counts what a hypervisor stole, which the
// kernel takes off the times of a process where it knows of it, and not the
// switches between tasks. Measured, beside wait4(2): within 1 % where there is
// room, -2 to +3 % where 8 processes fight for 2 CPUs of a virtual machine.
func newCounter() *counter {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Size:   unix.PERF_ATTR_SIZE_VER0,
		Config: unix.PERF_COUNT_SW_TASK_CLOCK,
		Bits:   unix.PerfBitDisabled | unix.PerfBitInherit | unix.PerfBitEnableOnExec | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return &counter{}
	}
	return &counter{file: os.NewFile(uintptr(fd), "perf event")}
}

func (c *counter) read() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return c.total, c.known
	}
	var b [8]byte
	if n, err := c.file.Read(b[:]); err != nil || n != len(b) {
		return 0, false
	}
	return time.Duration(binary.NativeEndian.Uint64(b[:])), true
}

// close ends the count; what it was can still be read.
func (c *counter) close() {
	total, known := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.known = total, known
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}
