//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
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

// hangup sends SIGHUP and waits until the log has a message once more.
func (s *session) hangup(want string) {
	s.t.Helper()
	before := s.stderr.Count(want)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	testkit.Eventually(s.t, want, func() bool { return s.stderr.Count(want) > before })
}

// A changed file is put in force on SIGHUP: outputs come and go, and no datagram is lost to
// those that stay. One that cannot be used changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.jsonl"), filepath.Join(dir, "second.jsonl")
	access := write(t, dir, "access", "* allow\n")
	config := write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+first+"}]\n")
	s := begin(t, nil, "--config", config)
	log := &s.stderr
	lines := func(name string) int {
		b, _ := os.ReadFile(name)
		return strings.Count(string(b), "\n")
	}
	s.send(datagram(1, xdr.Int("x", 1)))
	testkit.Eventually(t, "a line", func() bool { return lines(first) == 1 })
	write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+first+"}, {file: "+second+"}]\nflood-limit: 100\n")
	s.hangup("configuration in force")
	s.hangup("configuration in force")
	if strings.Count(log.String(), "setting=flood-limit") != 2 { // also if it was in the file before
		t.Errorf("no word about the setting that changes with a restart: %s", log)
	}
	s.send(datagram(2, xdr.Int("x", 1)))
	testkit.Eventually(t, "two more lines", func() bool { return lines(first)+lines(second) == 2 }) // the first was rotated
	write(t, dir, "c.yaml", "lisen: x\n")
	s.hangup("the last one stays in force")
	write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+second+"}]\n")
	write(t, dir, "access", "* deny\n")
	s.hangup("configuration in force")
	s.send(datagram(3, xdr.Int("x", 1)))
	write(t, dir, "access", "*\n")
	s.hangup("the last one stays in force")
	testkit.Eventually(t, "the state", func() bool { // again, as the datagram may arrive after the signal
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(log.String(), "refused=1") && strings.Contains(log.String(), "record "+second+": ")
	})
	s.cancel()
	if code := s.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, log)
	}
}

// A changed password is in force after SIGHUP, no datagram is lost meanwhile, and a file
// without one keeps the last.
func TestReloadPassword(t *testing.T) {
	dir := t.TempDir()
	password := write(t, dir, "password", "secret-A\n")
	s := begin(t, nil, "--password-file", password, "--format", "json")
	log := &s.stderr
	received := func(want string) {
		t.Helper()
		testkit.Eventually(t, want, func() bool {
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(log.String(), want)
		})
	}
	s.send(datagram(1, xdr.Int("x", 1)))
	received("datagrams=1 refused=0")
	write(t, dir, "password", "secret-B\n")
	s.send(datagram(2, xdr.Int("x", 1)))
	received("datagrams=2 refused=0")
	s.hangup("configuration in force")
	s.send(datagram(3, xdr.Int("x", 1)))
	received("datagrams=2 refused=1")
	write(t, dir, "password", "")
	s.hangup("the last one stays in force")
	write(t, dir, "password", "secret-A\n")
	s.send(datagram(4, xdr.Int("x", 1)))
	received("datagrams=2 refused=2")
	s.hangup("configuration in force")
	s.send(datagram(5, xdr.Int("x", 1)))
	received("datagrams=3 refused=2")
	s.cancel()
	if code := s.end(); code != 0 || strings.Contains(log.String(), "secret") {
		t.Errorf("exit code %d: %s", code, log)
	}
}

func TestDefaultSockets(t *testing.T) {
	t.Parallel()
	for sockets, want := range map[int]int{0: receiver.DefaultSockets(), 3: 3} {
		if o, err := receiverOptions(settings{Sockets: sockets}, nil); err != nil || o.Sockets != want {
			t.Errorf("%d sockets: %d, %v", sockets, o.Sockets, err)
		}
	}
}

// blocked is standard output that nobody reads: a write does not return until the test ends.
type blocked struct{ end context.Context }

func (b blocked) Write([]byte) (int, error) {
	<-b.end.Done()
	return 0, io.ErrClosedPipe
}

// If standard output blocks, one signal ends the program in time.
func TestEndsWhileStandardOutputBlocks(t *testing.T) {
	t.Parallel()
	rec := filepath.Join(t.TempDir(), "rec.jsonl")
	s := begin(t, blocked{t.Context()}, "--format", "json", "--record", rec)
	s.send(datagram(1, xdr.Int("x", 1)))
	testkit.Eventually(t, "a line", func() bool {
		b, _ := os.ReadFile(rec)
		return len(b) > 0
	})
	s.cancel()
	s.wants(0, "^$", `output="standard output" lost=1\n(?s:.*)record .*: 1 sent, 0 waiting, 0 lost`)
}
