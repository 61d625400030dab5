package metrics

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/procinfo"
)

// ticksPerSecond is the kernel's USER_HZ, the same on all systems that Go knows.
const ticksPerSecond = 100

// readKernel reads a directory of /proc; what it lacks stays as it is.
func (p *Process) readKernel(dir string) {
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		var boot unix.Timespec
		since := -1.
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) == nil {
			since = time.Duration(boot.Nano()).Seconds()
		}
		p.parseStat(b, since)
	}
	// That of stat is summed up late in current kernels, and some 100 KiB too low.
	if b, err := os.ReadFile(filepath.Join(dir, "statm")); err == nil {
		if fields := bytes.Fields(b); len(fields) > 1 {
			if pages, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
				p.RSS = procinfo.Known(float64(pages) * float64(os.Getpagesize()))
			}
		}
	}
	p.OpenFiles = openFiles(filepath.Join(dir, "fd"))
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)), so many seconds after the
// boot; negative if that is not known.
func (p *Process) parseStat(b []byte, sinceBoot float64) {
	// The name before it may hold anything, even ") R".
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return
	}
	fields := bytes.Fields(b[i+1:])
	// field returns a field by its number in the manual, where state is the third.
	field := func(n int, unit float64) procinfo.Value {
		if n-3 >= len(fields) {
			return procinfo.Value{}
		}
		v, err := strconv.ParseUint(string(fields[n-3]), 10, 64)
		if err != nil {
			return procinfo.Value{}
		}
		return procinfo.Known(float64(v) * unit)
	}
	p.UserTime, p.SystemTime = field(14, 1./ticksPerSecond), field(15, 1./ticksPerSecond)
	if threads := field(20, 1); threads.OK {
		p.Threads = threads
	}
	if start := field(22, 1./ticksPerSecond); start.OK && sinceBoot >= start.V {
		p.Uptime = procinfo.Known(sinceBoot - start.V)
	}
	p.VSZ, p.RSS = field(23, 1), field(24, float64(os.Getpagesize()))
}

// openFiles is the size of /proc/PID/fd, or else (before Linux 6.2, where that is
// 0) the number of its entries but the one that is open to count them.
func openFiles(dir string) procinfo.Value {
	info, err := os.Stat(dir)
	if err != nil {
		return procinfo.Value{}
	}
	if info.Size() > 0 {
		return procinfo.Known(float64(info.Size()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return procinfo.Value{}
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return procinfo.Value{}
	}
	return procinfo.Known(float64(max(0, len(names)-1)))
}
