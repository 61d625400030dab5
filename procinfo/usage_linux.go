package procinfo

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// ReadUsage reads the resource usage of this process from /proc/self.
func ReadUsage() Usage { return readUsage("/proc") }

// readUsage reads the directory self of a proc file system. A value that cannot be read
// is unknown.
func readUsage(proc string) (u Usage) {
	dir := filepath.Join(proc, "self")
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		boot, ok := process.SinceBoot()
		if !ok {
			boot = -1
		}
		u.setStat(b, boot)
	}
	if rss := readRSS(dir); rss.OK {
		u.RSS = rss // exact: stat is some 100 KiB too low in current kernels
	}
	u.OpenFiles = openFiles(proc)
	return u
}

// setStat sets the values of /proc/PID/stat. sinceBoot is negative if it is unknown.
func (u *Usage) setStat(b []byte, sinceBoot time.Duration) {
	st, ok := kernel.ParsePIDStat(b)
	if !ok {
		return
	}
	seconds := func(ticks uint64) Value { return Known(float64(ticks) * process.Tick.Seconds()) }
	u.UserTime, u.SystemTime = seconds(st.UTime), seconds(st.STime)
	u.Threads = Known(float64(st.Threads))
	if start := process.TicksSinceBoot(st.Start); sinceBoot >= start {
		u.Uptime = Known((sinceBoot - start).Seconds())
	}
	u.VSZ, u.RSS = Known(float64(st.VSize)), Known(float64(st.RSS)*float64(os.Getpagesize()))
}

// readRSS returns the resident memory in bytes.
func readRSS(dir string) Value {
	b, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return Value{}
	}
	return KnownIf(kernel.ParseStatm(b).Float()).Scaled(float64(os.Getpagesize()))
}

// openFiles returns the number of open files of this process.
func openFiles(proc string) Value {
	link, err := os.Readlink(filepath.Join(proc, "self"))
	if err != nil {
		return Value{}
	}
	pid, err := strconv.Atoi(link)
	if err != nil {
		return Value{}
	}
	s := process.NewScanner(proc)
	if s.Open() != nil {
		return Value{}
	}
	defer s.Close()
	n, errno := s.OpenFiles(pid)
	return KnownIf(float64(n), errno == 0)
}

// SelfRSS returns the resident memory of this process in KiB.
func SelfRSS() Value { return readRSS("/proc/self").Scaled(1. / 1024) }
