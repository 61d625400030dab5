package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// ownCgroup is a cgroup created for a job; nil if there is none.
type ownCgroup struct{ dir string }

// makeCgroup creates a cgroup for the job below that of this process, if that is
// delegated to this user: the directory belongs to the user, and processes may be
// moved within it. The new cgroup has no controllers, since a cgroup with processes
// cannot enable them for its children; so it counts CPU time and processes, but not
// memory.
func makeCgroup() (*ownCgroup, error) {
	parent, err := procinfo.OwnCgroup(procinfo.DefaultFS(func(string) string { return "" }))
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(parent)
	if err != nil {
		return nil, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
		return nil, errors.New(parent + " belongs to another user")
	}
	if err := unix.Access(parent+"/cgroup.procs", unix.W_OK); err != nil {
		return nil, fmt.Errorf("%s/cgroup.procs: %w", parent, err)
	}
	removeStale(parent)
	self, ok := process.Stat(os.Getpid())
	if !ok {
		return nil, errors.New("/proc/self/stat cannot be read")
	}
	dir := filepath.Join(parent, fmt.Sprintf(cgroupName, os.Getpid(), self.Start))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	return &ownCgroup{dir}, nil
}

// cgroupName is the name of a cgroup for a job: pid and start time of its creator.
const cgroupName = "apmon-job-%d-%d"

// removeStale removes cgroups of earlier calls of exec that were killed, or whose jobs
// left processes. A cgroup with processes cannot be removed.
func removeStale(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, "apmon-job-*-*"))
	for _, dir := range dirs {
		var pid int
		var start uint64
		if n, _ := fmt.Sscanf(filepath.Base(dir), cgroupName, &pid, &start); n != 2 {
			continue
		}
		if now, ok := process.Stat(pid); !ok || now.Start != start {
			_ = os.Remove(dir)
		}
	}
}

func (c *ownCgroup) path() string {
	if c == nil {
		return ""
	}
	return c.dir
}

// remove removes the cgroup, unless processes are left in it.
func (c *ownCgroup) remove() {
	if c != nil {
		_ = os.Remove(c.dir)
	}
}
