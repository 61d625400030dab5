//go:build unix

package conf

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamedPipe: one that nobody writes to says nothing, and is not waited for.
func TestNamedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.conf")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if _, _, _, err := (&Reader{Source: File(p)}).Read(t.Context()); !errors.Is(err, ErrNoDestination) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
