package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/launch"
	"github.com/apmon-go/apmon/procinfo"
)

// ownCgroup is a cgroup that was made for a job; nil for none.
type ownCgroup struct{ dir string }

// makeCgroup makes a cgroup for the job below our own, if that was given to us:
// its directory is ours, and processes may be moved in it. (No controllers are
// switched on for it, as a cgroup with processes, which ours is, may not do that:
// it tells CPU time and processes, and not memory.)
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
		return nil, errors.New(parent + " is not ours")
	}
	if err := unix.Access(parent+"/cgroup.procs", unix.W_OK); err != nil {
		return nil, fmt.Errorf("%s/cgroup.procs: %w", parent, err)
	}
	removeStale(parent)
	start, ok := launch.StartTime(os.Getpid())
	if !ok {
		return nil, errors.New("/proc/self/stat cannot be read")
	}
	dir := filepath.Join(parent, fmt.Sprintf(cgroupName, os.Getpid(), start))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	return &ownCgroup{dir}, nil
}

// cgroupName is the name of a cgroup for a job: whose it is, by pid and start time.
const cgroupName = "apmon-job-%d-%d"

// removeStale removes cgroups that an earlier exec left behind, because something
// of its job lived on or it was killed. One with processes cannot be removed.
func removeStale(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, "apmon-job-*-*"))
	for _, dir := range dirs {
		var pid int
		var start uint64
		if n, _ := fmt.Sscanf(filepath.Base(dir), cgroupName, &pid, &start); n != 2 {
			continue
		}
		if now, ok := launch.StartTime(pid); !ok || now != start {
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

// remove removes the cgroup, unless something of the job lives on in it.
func (c *ownCgroup) remove() {
	if c != nil {
		_ = os.Remove(c.dir)
	}
}
