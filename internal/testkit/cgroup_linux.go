package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Cgroup creates a cgroup (version 2) below that of the test process and returns
// its directory. The caller removes it. The test is skipped without
// cgroup v2 or without the permission to write to it.
func Cgroup(t testing.TB) (dir string) {
	t.Helper()
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
	dir, err = os.MkdirTemp(filepath.Join(root, strings.TrimSpace(path)), "apmon-test-")
	if err != nil {
		t.Skip(err)
	}
	return dir
}
