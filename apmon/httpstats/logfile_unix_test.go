//go:build unix

package httpstats

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestLogIntoNamedPipe: opening a named pipe without a reader does not block.
func TestLogIntoNamedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := OpenLogFile(path, AppendJSON); !errors.Is(err, syscall.ENXIO) {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := OpenLogFile(path, func(b []byte, _ *Record) []byte { return append(b, "line"...) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Log(&Record{})
	if got, err := bufio.NewReader(f).ReadString('\n'); got != "line\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
