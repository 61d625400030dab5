package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// openScanner returns a scanner of a directory of processes, open until the test ends.
func openScanner(t *testing.T, dir string) *Scanner {
	t.Helper()
	s := NewScanner(dir)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The size of the directory and the number of its entries agree.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	c := exec.Command("cat")
	in, out := testkit.StartPiped(t, c)
	// Once it has copied a byte, it opens no more files.
	if _, err := in.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for _, counts := range []bool{false, true} {
		s := openScanner(t, "/proc")
		s.countFiles = counts
		if n, errno := s.OpenFiles(c.Process.Pid); n < 3 || errno != 0 {
			t.Errorf("counted: %t: %d open files, %v, want at least 3", counts, n, errno)
		}
		if _, errno := s.OpenFiles(1 << 30); !Gone(errno) {
			t.Errorf("counted: %t: of no process: %v", counts, errno)
		}
	}
	sized, counted := openScanner(t, "/proc"), openScanner(t, "/proc")
	counted.countFiles = true
	n, _ := sized.OpenFiles(c.Process.Pid)
	if m, _ := counted.OpenFiles(c.Process.Pid); n != m {
		t.Errorf("%d open files, %d entries", n, m)
	}
}

// A copy of /proc has directories whose size says nothing.
func TestOpenFilesOfACopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "10", "fd"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0", "1", "7"} {
		if err := os.WriteFile(filepath.Join(dir, "10", "fd", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openScanner(t, dir)
	for range 2 {
		if n, errno := s.OpenFiles(10); n != 3 || errno != 0 {
			t.Errorf("%d open files, %v, want 3", n, errno)
		}
	}
}
