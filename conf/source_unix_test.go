//go:build unix

package conf

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamedPipe: reading a named pipe without a writer does not block.
func TestNamedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.conf")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, _, _, err := (&Reader{Source: File(path)}).Read(t.Context()); !errors.Is(err, ErrNoDestination) {
		t.Error(err)
	}
	if _, _, _, err := (&Reader{Source: File(filepath.Dir(path))}).Read(t.Context()); err == nil || err.Error() != path+": not a regular file" {
		t.Error(err)
	}
	if _, err := ReadPassword(path); err == nil || err.Error() != path+" is empty" {
		t.Error(err)
	}
}
