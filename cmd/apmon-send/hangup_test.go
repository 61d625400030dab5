//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// A stream of messages follows its configuration; SIGHUP reloads it.
func TestHangupReloads(t *testing.T) {
	running.Lock()
	defer running.Unlock()
	a, b := testkit.Listen(t), testkit.Listen(t)
	file := filepath.Join(t.TempDir(), "f.conf")
	write := func(l *testkit.Listener) {
		if err := os.WriteFile(file, []byte(l.Name()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a)
	in, stdin := io.Pipe()
	done := make(chan int)
	go func() {
		done <- run(context.Background(), []string{"apmon-send", "-f", file, "--stdin", "line"}, func(string) string { return "" }, in, io.Discard, io.Discard)
	}()
	fmt.Fprintln(stdin, "C/N x 1")
	a.Next()
	write(b)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The reload runs concurrently with the messages.
	go func() {
		for i := 2; ; i++ {
			if _, err := fmt.Fprintf(stdin, "C/N x %d\n", i); err != nil {
				return
			}
		}
	}()
	if d := b.Next(); d.Instance == 0 {
		t.Errorf("got %+v", d)
	}
	stdin.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A destination that a reload adds after the last message does not count as refusing.
func TestReloadAfterTheLastMessage(t *testing.T) {
	running.Lock()
	defer running.Unlock()
	a := testkit.Listen(t)
	file := filepath.Join(t.TempDir(), "f.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write(a.Name())
	in, stdin := io.Pipe()
	log := &logWaiter{seen: make(chan struct{})}
	done := make(chan int)
	go func() {
		done <- run(context.Background(), []string{"apmon-send", "-f", file, "--stdin", "line"}, func(string) string { return "" }, in, io.Discard, log)
	}()
	fmt.Fprintln(stdin, "C/N x 1")
	a.Next()
	write(testkit.Refusing(t) + "\nh:99999") // the bad line is logged when the file is read
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-log.seen
	stdin.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// logWaiter waits for a text in the log.
type logWaiter struct {
	seen chan struct{}
	once sync.Once
}

func (l *logWaiter) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("99999")) {
		l.once.Do(func() { close(l.seen) })
	}
	return len(b), nil
}
