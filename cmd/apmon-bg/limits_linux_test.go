package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/launch"
)

// limited is apmon-bg, started by a shell that sets limits first.
func limited(t *testing.T, exe, limits string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command("/bin/sh", append([]string{"-c", limits + ` && exec "$@"`, "sh", exe}, args...)...)
}

// named makes the test binary callable as apmon-bg, by everyone.
func named(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "apmon-bg-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(exe)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, name), b, 0o755), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// A cgroup is removed once nobody owns it.
func TestRemoveStale(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	start, ok := launch.StartTime(pid)
	if !ok {
		t.Fatal("no start time")
	}
	keep := []string{fmt.Sprintf(cgroupName, pid, start), "apmon-job-1234567", "other", fmt.Sprintf(cgroupName, ended.Process.Pid, 1) + "/of a job"}
	for _, dir := range append(keep, fmt.Sprintf(cgroupName, pid, start+1), fmt.Sprintf(cgroupName, ended.Process.Pid, 2)) {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(parent)
	for i := range keep {
		keep[i], _, _ = strings.Cut(keep[i], "/")
	}
	var left []string
	dirs, _ := os.ReadDir(parent)
	for _, dir := range dirs {
		left = append(left, dir.Name())
	}
	slices.Sort(keep)
	if !slices.Equal(left, keep) {
		t.Errorf("left %q, want %q", left, keep)
	}
}

// A cgroup in which an orphan lives on is removed by the next exec.
func TestExecCgroupLeftBehind(t *testing.T) {
	t.Parallel()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	_, path, ok := strings.Cut(string(own), "0::")
	if !ok {
		t.Skip("no cgroup v2")
	}
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified"
	}
	dir := filepath.Join(root, strings.TrimSpace(path), fmt.Sprintf("apmon-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip(err)
	}
	exe := named(t)
	left := func() []string { dirs, _ := filepath.Glob(dir + "/apmon-job-*"); return dirs }
	run := func(script string) int {
		t.Helper()
		cmd := limited(t, exe, "echo $$ >"+dir+"/cgroup.procs", "exec", "-d", "127.0.0.1:9", "--orphan-wait", "0s", "--", "sh", "-c", script)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		return pid
	}
	orphan := run("sleep 1000 >&- 2>&- & echo $!")
	t.Cleanup(func() {
		_ = syscall.Kill(orphan, syscall.SIGKILL)
		eventually(t, "an empty cgroup", func() bool {
			for _, d := range append(left(), dir) {
				_ = os.Remove(d)
			}
			_, err := os.Stat(dir)
			return err != nil
		})
	})
	one := left()
	if len(one) != 1 {
		t.Fatalf("with an orphan: %q", one)
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan has left", func() bool { b, _ := os.ReadFile(one[0] + "/cgroup.procs"); return len(b) == 0 })
	run("true")
	if l := left(); len(l) != 0 {
		t.Errorf("still there: %q", l)
	}
}
