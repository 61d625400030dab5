package launch

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/process"
	"golang.org/x/sys/unix"
)

// A counter counts the time for which a process, and all that comes from it, was
// on a CPU: by inherited perf events, perf_event_open(2), which see what nobody
// waits for, too.
//
// The first such event on a machine takes the kernel some milliseconds, as it
// waits for all CPUs to learn of it, and nothing can end that wait. So the command
// does not wait for it, and one that ends at once never causes it: the events are
// attached while it runs, one for each of its threads, and of the processes that
// have come from it by then. What they had used is added, and their clocks tell it.
type counter struct {
	end chan struct{} // closed when there is nothing to count any more

	mu       sync.Mutex
	events   []*os.File
	before   time.Duration // what was used when the events were attached
	attached bool
	closed   bool
	total    time.Duration // when it was closed
}

// short is how long a command is left alone: if it ends within that time, it is
// not counted.
const short = 20 * time.Millisecond

func newCounter() *counter { return &counter{end: make(chan struct{})} }

// openEvent opens an event of a thread; 0 is the calling one.
//
// exclude_kernel is what makes it free to everyone, and has no say in what is
// counted: the kernel's task clock runs while the task does, in user mode or
// not. (A burner of nothing but system time is counted in full: TestCPUTime.)
//
// It is as exact as the clock: it counts what a hypervisor stole, which the
// kernel takes off the times of a process where it knows of it, and not the
// switches between tasks. Measured, beside wait4(2): within 1 % where there is
// room, -2 to +3 % where 8 processes fight for 2 CPUs of a virtual machine.
func openEvent(tid int, bits uint64) (*os.File, error) {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Size:   unix.PERF_ATTR_SIZE_VER0,
		Config: unix.PERF_COUNT_SW_TASK_CLOCK,
		Bits:   bits | unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "perf event"), nil
}

// attach counts a process, once it has run for a while.
func (c *counter) attach(pid int) {
	select {
	case <-time.After(short):
	case <-c.end:
		return
	}
	first, err := openEvent(0, unix.PerfBitDisabled) // takes its time, so not under the lock
	if err != nil {
		return
	}
	defer first.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.attached = c.add(pid)
	}
}

// maxEvents bounds what is attached to: a command that has hundreds of threads
// and processes after some milliseconds is counted in part. So is one with fewer,
// where others need the descriptors.
var maxEvents = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1
	}
	return int(min(200, limit.Cur/8))
})

// add adds a process and its children. What comes into being between two of these
// steps is missed rather than counted twice.
func (c *counter) add(pid int) bool {
	used, ok := process.CPUClock(pid)
	if !ok {
		return false
	}
	c.before += time.Duration(used)
	dir := fmt.Sprintf("/proc/%d/task/", pid)
	tasks, _ := os.ReadDir(dir)
	var children []string
	for _, task := range tasks {
		b, _ := os.ReadFile(dir + task.Name() + "/children") // not in every kernel
		children = append(children, strings.Fields(string(b))...)
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil && len(c.events) < maxEvents() {
			if f, err := openEvent(tid, 0); err == nil {
				c.events = append(c.events, f)
			}
		}
	}
	for _, child := range children {
		if pid, err := strconv.Atoi(child); err == nil {
			c.add(pid)
		}
	}
	return len(c.events) > 0
}

// read returns the count; false before it is attached, and where it cannot be.
func (c *counter) read() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum()
}

func (c *counter) sum() (time.Duration, bool) {
	if c.closed || !c.attached {
		return c.total, c.attached
	}
	sum := c.before
	for _, f := range c.events {
		var b [8]byte
		if n, err := f.Read(b[:]); err != nil || n != len(b) {
			return 0, false
		}
		sum += time.Duration(binary.NativeEndian.Uint64(b[:]))
	}
	return sum, true
}

// close ends the count; what it was can still be read.
func (c *counter) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.attached = c.sum()
	c.closed = true
	close(c.end)
	for _, f := range c.events {
		f.Close()
	}
}
