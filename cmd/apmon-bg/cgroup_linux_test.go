package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// The files of a cgroup that exec reads and writes, on a plain file system.
func TestCgroupEnable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		unit, controllers, subtree, procs string
		want                              error
		moved                             bool
	}{
		"alone":                              {"job_7", "cpu memory pids", "", "42\n", nil, true},
		"a service that is not delegated":    {"job.service", "memory", "", "42\n", errUnit, false},
		"a scope":                            {"job.scope", "memory", "", "42\n", nil, true},
		"other processes":                    {"job_7", "memory", "", "41\n42\n", errShared, false},
		"a process of another pid namespace": {"job_7", "memory", "", "0\n42\n", errShared, false},
		"no memory controller":               {"job_7", "cpu pids", "", "42\n", errors.ErrUnsupported, false},
		"enabled before":                     {"job_7", "cpu memory", "memory", "", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := filepath.Join(t.TempDir(), test.unit)
			if err := os.Mkdir(parent, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"controllers": test.controllers, "subtree_control": test.subtree, "procs": test.procs} {
				if err := os.WriteFile(parent+"/cgroup."+file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			read := func(file string) string {
				b, _ := os.ReadFile(parent + "/" + file)
				return string(b)
			}
			c := &ownCgroup{parent: parent, dir: parent + "/apmon-job-42-1000"}
			if err := c.enable("memory", 42, 1000); !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if !test.moved {
				if c.aside != "" || read("cgroup.subtree_control") != test.subtree || read("cgroup.procs") != test.procs {
					t.Errorf("changed: %+v", c)
				}
				return
			}
			if read("cgroup.subtree_control") != "+memory" || read("apmon-exec-42-1000/cgroup.procs") != "42" {
				t.Errorf("subtree_control %q, moved %q", read("cgroup.subtree_control"), read("apmon-exec-42-1000/cgroup.procs"))
			}
			c.release("memory", 42)
			if read("cgroup.subtree_control") != "-memory" || read("cgroup.procs") != "42" {
				t.Errorf("not undone: subtree_control %q, procs %q", read("cgroup.subtree_control"), read("cgroup.procs"))
			}
		})
	}
}

// The kernel accepts the steps, with any controller that it has in version 2.
func TestCgroupEnableLive(t *testing.T) {
	t.Parallel()
	parent := testkit.Cgroup(t)
	t.Cleanup(func() { os.Remove(parent) })
	list, _ := os.ReadFile(parent + "/cgroup.controllers")
	controllers := strings.Fields(string(list))
	if len(controllers) == 0 {
		t.Skip("the parent of this cgroup (version 2) enables no controller")
	}
	controller := controllers[0]
	pid, end := testkit.Sleeper(t)
	defer end()
	if err := moveTo(parent, pid); err != nil {
		t.Skip(err)
	}
	c := &ownCgroup{parent: parent, dir: filepath.Join(parent, fmt.Sprintf(cgroupName, pid, 1))}
	if err := c.enable(controller, pid, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if has, err := lists(c.dir+"/cgroup.controllers", controller); !has {
		t.Errorf("the job's cgroup has no %s controller: %v", controller, err)
	}
	if err := os.Remove(c.dir); err != nil {
		t.Error(err)
	}
	aside := c.aside
	c.release(controller, pid)
	if procs, _ := os.ReadFile(parent + "/cgroup.procs"); string(procs) != strconv.Itoa(pid)+"\n" {
		t.Errorf("in the parent: %q", procs)
	}
	if _, err := os.Stat(aside); err == nil {
		t.Error("the cgroup of exec is left")
	}
	end()
}
