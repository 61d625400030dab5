package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

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
	dir, err := os.MkdirTemp(parent, "apmon-job-*") // one that is there may have been another's
	if err != nil {
		return nil, err
	}
	return &ownCgroup{dir}, nil
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
