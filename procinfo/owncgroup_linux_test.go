package procinfo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOwnCgroup(t *testing.T) {
	t.Parallel()
	const (
		v2     = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		memory = "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		hybrid = "32 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		part   = "30 25 0:26 /docker/7 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	)
	for name, test := range map[string]struct{ cgroup, mounts, dir, err string }{
		"version 2":             {"0::/user.slice/a b\n", v2, "/sys/fs/cgroup/user.slice/a b", ""},
		"both versions":         {"3:memory:/m\n0::/u\n", memory + hybrid, "/sys/fs/cgroup/unified/u", ""},
		"a part is mounted":     {"0::/docker/7/job\n", part, "/sys/fs/cgroup/job", ""},
		"the root of a mount":   {"0::/docker/7\n", part, "", "root"},
		"the root":              {"0::/\n", v2, "", "root"},
		"outside of the mount":  {"0::/other\n", part, "", "root"},
		"version 1":             {"3:memory:/m\n1:name=systemd:/s\n", memory, "", "cgroup v2 is not mounted"},
		"version 2 not mounted": {"3:memory:/m\n0::/u\n", memory, "", "cgroup v2 is not mounted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := DirFS(t.TempDir())
			for file, text := range map[string]string{"self/cgroup": test.cgroup, "self/mountinfo": test.mounts} {
				if err := os.MkdirAll(filepath.Dir(fs.ProcPath(file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(fs.ProcPath(file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			dir, err := OwnCgroup(fs)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%q, %v", dir, err)
				}
				return
			}
			if want := fs.CgroupPath(filepath.Dir(test.dir)) + "/" + filepath.Base(test.dir); err != nil || dir != want {
				t.Errorf("%q, %v; want %q", dir, err, want)
			}
		})
	}
	if _, err := OwnCgroup(DirFS(t.TempDir())); err == nil {
		t.Error("no error without /proc")
	}
}
