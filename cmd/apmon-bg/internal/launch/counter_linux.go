package launch

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// A counter counts the CPU time of a process and its descendants by inherited perf
// events, perf_event_open(2), which include processes that no parent waits for.
//
// The first such event on a machine takes the kernel some milliseconds, because it
// waits for all CPUs, and that wait cannot be interrupted. Therefore the start of the
// command does not wait for it, and a command that ends at once never causes it. The
// events are attached to the running command: one for each of its threads and those
// of its descendants. The CPU clocks give the time used before.
type counter struct {
	end chan struct{} // closed by close

	mu       sync.Mutex
	events   []*os.File
	before   time.Duration // the time used before the events were attached
	late     time.Duration // when all were attached, after the start
	attached bool
	closed   bool
	total    time.Duration // set by close
}

// short is the time after which events are attached: a command that ends earlier is not
// counted.
const short = 20 * time.Millisecond

func newCounter() *counter { return &counter{end: make(chan struct{})} }

// openEvent opens an event of a thread; 0 is the calling one.
//
// exclude_kernel makes the event available to every user and does not change the
// count: the task clock of the kernel runs in both modes. (TestCPUTime checks system
// time.)
//
// The count includes time stolen by a hypervisor, which the kernel subtracts from
// process times if it knows it, and excludes task switches. Measured against
// wait4(2): within 1 % on idle CPUs, -2 to +3 % with 8 processes on 2 CPUs of a
// virtual machine.
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

// attach begins to count a process, once it has run for a while.
func (c *counter) attach(pid int, started time.Time) {
	select {
	case <-time.After(short):
	case <-c.end:
		return
	}
	first, err := openEvent(0, unix.PerfBitDisabled) // slow, so before locking
	if err != nil {
		return
	}
	defer first.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.attached = c.add(pid)
		c.late = time.Since(started)
	}
}

// maxEvents is the maximum number of events: a command that has hundreds of threads and
// processes after some milliseconds is counted only in part. It is lower if the limit of
// descriptors is low.
var maxEvents = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1
	}
	return int(min(200, limit.Cur/8))
})

// add adds a process and its descendants. It may miss threads and processes that are
// created at the same time, but counts none twice.
func (c *counter) add(pid int) bool {
	used, ok := process.CPUClock(pid)
	if !ok {
		return false
	}
	c.before += time.Duration(used)
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	var threads, children []int
	_ = process.Numbers(tasks, func(tid int) { threads = append(threads, tid) })
	for _, tid := range threads {
		b, _ := process.ReadFile(fmt.Sprintf("%s/%d/children", tasks, tid)) // not in every kernel
		kernel.ParseChildren(b, func(pid int) { children = append(children, pid) })
	}
	for _, tid := range threads {
		if len(c.events) >= maxEvents() {
			break
		}
		if f, err := openEvent(tid, 0); err == nil {
			c.events = append(c.events, f)
		}
	}
	for _, child := range children {
		c.add(child)
	}
	return len(c.events) > 0
}

// read returns the count, 0 if no event is attached, or not yet. It returns false if more than a
// hundredth may be missing: descendants that had ended before the events were attached, and what
// a process used while they were. That is at most the time of all CPUs until then, less what is
// known of it.
func (c *counter) read() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, ok := c.sum()
	missing := c.late*time.Duration(runtime.NumCPU()) - c.before
	return sum, ok && missing <= sum/100
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

// close ends the count, which can still be read.
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
