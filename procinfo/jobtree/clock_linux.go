package jobtree

import (
	"os"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// uptime is sinceBoot for the processes of another machine's tree.
func (s *Set) uptime() (time.Duration, bool) {
	b, err := os.ReadFile(s.fs.ProcPath("uptime"))
	v := kernel.ParseUptime(b)
	return time.Duration(v.V * float64(time.Second)), err == nil && v.OK && v.V < 1e9
}

// ownProcesses returns our pid among the processes of a tree, 0 if we are not
// in it, and whether they are those of our own pid namespace, so that the kernel
// may be asked of them.
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
	// NSpid has our pid in each namespace, from that of the tree to our own.
	own = string(kernel.ParseStatus(b).NSPID) == link && self == os.Getpid()
	if _, works := process.CPUClock(self); !works {
		own = false
	}
	return self, own
}
