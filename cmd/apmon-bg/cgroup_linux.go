package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// ownCgroup is a cgroup created for a job; nil if there is none.
type ownCgroup struct {
	dir, parent string
	aside       string // where this process was moved to, "" if it stayed in parent
}

// makeCgroup creates a cgroup for the job below that of this process, if that is
// delegated to this user: the directory belongs to the user, and processes may be
// moved within it. The new cgroup always counts CPU time and processes. It counts
// memory, too, if the parent may enable that: see enable.
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
	c := &ownCgroup{dir: filepath.Join(parent, fmt.Sprintf(cgroupName, os.Getpid(), self.Start)), parent: parent}
	_ = c.enable("memory", os.Getpid(), self.Start) // without it, the sum over the processes remains
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// The names of the cgroups for a job and for its creator: pid and start time of the creator.
const (
	cgroupName = "apmon-job-%d-%d"
	asideName  = "apmon-exec-%d-%d"
)

var (
	errShared = errors.New("other processes are in the cgroup")
	errUnit   = errors.New("systemd may start processes in the cgroup: it needs Delegate=yes")
)

// enable makes cgroups below the parent have a controller. A cgroup with processes
// cannot do that, so this process, with that pid and start time, moves to another cgroup
// below the parent first. Nothing changes if the parent does not have the controller, has
// other processes, or is a service of systemd that is not delegated.
func (c *ownCgroup) enable(controller string, pid int, start uint64) error {
	if has, err := lists(c.parent+"/cgroup.controllers", controller); !has {
		return errors.Join(errors.ErrUnsupported, err)
	}
	if on, _ := lists(c.parent+"/cgroup.subtree_control", controller); on {
		return nil
	}
	procs, err := os.ReadFile(c.parent + "/cgroup.procs")
	if err != nil {
		return err
	}
	alone := true
	kernel.ParsePIDs(procs, func(other int) bool { alone = alone && other == pid; return alone })
	switch {
	case !alone:
		return errShared
	case strings.HasSuffix(c.parent, ".service") && !delegated(c.parent):
		return errUnit
	}
	c.aside = filepath.Join(c.parent, fmt.Sprintf(asideName, pid, start))
	if err = os.Mkdir(c.aside, 0o755); err == nil {
		err = moveTo(c.aside, pid)
	}
	if err == nil {
		err = os.WriteFile(c.parent+"/cgroup.subtree_control", []byte("+"+controller), 0)
	}
	if err != nil {
		c.back(pid)
	}
	return err
}

// back moves this process back to the parent.
func (c *ownCgroup) back(pid int) {
	_ = moveTo(c.parent, pid)
	_ = os.Remove(c.aside)
	c.aside = ""
}

// moveTo moves a process to a cgroup.
func moveTo(dir string, pid int) error {
	return os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
}

// lists reports whether a file with a list of controllers has one of them.
func lists(file, controller string) (bool, error) {
	b, err := os.ReadFile(file)
	return slices.Contains(strings.Fields(string(b)), controller), err
}

// delegated reports whether systemd leaves a cgroup to its processes.
func delegated(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		var b [2]byte
		if n, err := unix.Getxattr(dir, name, b[:]); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}

// removeStale removes cgroups of earlier calls of exec that were killed, or whose jobs
// left processes. A cgroup with processes cannot be removed.
func removeStale(parent string) {
	for _, name := range []string{cgroupName, asideName} {
		dirs, _ := filepath.Glob(filepath.Join(parent, strings.ReplaceAll(name, "%d", "*")))
		for _, dir := range dirs {
			var pid int
			var start uint64
			if n, _ := fmt.Sscanf(filepath.Base(dir), name, &pid, &start); n != 2 {
				continue
			}
			if now, ok := process.Stat(pid); !ok || now.Start != start {
				_ = os.Remove(dir)
			}
		}
	}
}

func (c *ownCgroup) path() string {
	if c == nil {
		return ""
	}
	return c.dir
}

// remove removes the cgroup, unless processes are left in it. If this process was moved, it
// moves back, which the parent allows once its children have no memory controller.
func (c *ownCgroup) remove() {
	if c == nil {
		return
	}
	_ = os.Remove(c.dir)
	if c.aside != "" {
		c.release("memory", os.Getpid())
	}
}

// release undoes enable.
func (c *ownCgroup) release(controller string, pid int) {
	_ = os.WriteFile(c.parent+"/cgroup.subtree_control", []byte("-"+controller), 0)
	c.back(pid)
}
