package jobtree

import (
	"os"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// uptime returns the time since boot of the host with these trees.
func uptime(fs procinfo.FS) (time.Duration, bool) {
	b, err := os.ReadFile(fs.ProcPath("uptime"))
	v := kernel.ParseUptime(b)
	return time.Duration(v.V * float64(time.Second)), err == nil && v.OK && v.V < 1e9
}

// ownProcesses returns our pid in a proc file system, 0 if it does not show us, and
// whether its pids are those of our own pid namespace, so that system calls accept them.
func ownProcesses(fs procinfo.FS) (self int, own bool) {
	b, err := os.ReadFile(fs.ProcPath("self/status"))
	if err != nil {
		return 0, false
	}
	link, err := os.Readlink(fs.ProcPath("self"))
	if err != nil {
		return 0, false
	}
	self, err = strconv.Atoi(link)
	if err != nil {
		return 0, false
	}
	// NSpid has our pid in each namespace, from that of the file system to our own.
	own = string(kernel.ParseStatus(b).NSPID) == link && self == os.Getpid()
	if _, works := process.CPUClock(self); !works {
		own = false
	}
	return self, own
}
