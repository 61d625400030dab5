//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is read as far as it goes, but not waited for: a reload must not hang, and what was
// read at the start is not replaced by nothing.
func TestConfigFromPipe(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func() (int, string) {
		var out, errs bytes.Buffer
		return run(t.Context(), []string{"apmon-recv", "check", "--config", name}, nil, nil, &out, &errs), errs.String()
	}
	if code, errs := check(); code != 66 || !strings.Contains(errs, "a pipe without content") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("listen: ':0'\n"); err != nil {
		t.Fatal(err)
	}
	open, err := openSettings(name)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	f.Close()
	var s settings
	if err := s.read(name); err != nil || s.Listen != ":0" {
		t.Errorf("%+v, %v", s, err)
	}
	if code, errs := check(); code != 66 {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
