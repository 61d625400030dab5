//go:build unix

package record

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/testkit"
)

// A pipe without a reader is an output that fails, and works when there is one. A reader that
// reads nothing blocks neither Reopen nor the end.
func TestPipe(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, Options{File: name})
	r.send(t, 0, 1)
	if s := r.Stats()[0]; s.Dropped[WriteFailed] != 1 || s.Error == "" {
		t.Errorf("without a reader: %+v", s)
	}
	reader, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := packet(1)
	testkit.Eventually(t, "a line in the pipe", func() bool {
		r.Offer(p)
		return r.Stats()[0].Sent > 0
	})
	for range 4096 { // more than a pipe takes
		r.Offer(p)
	}
	testkit.Eventually(t, "a write that blocks", func() bool {
		if r.out.mu.TryLock() {
			r.out.mu.Unlock()
			return false
		}
		return true
	})
	r.out.Reopen()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	all := r.Close(ctx)
	if n := all[0].Sent + all[0].Dropped[WriteFailed] + all[0].Dropped[output.Stopped]; n != all[0].Taken || all[0].Queued != 0 {
		t.Errorf("%d datagrams accounted for: %+v", n, all[0])
	}
	testkit.Eventually(t, "the end", func() bool {
		r.out.mu.Lock()
		defer r.out.mu.Unlock()
		return r.out.in == nil
	})
}

// SIGHUP does not rotate an empty file.
func TestEmptyFileStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.jsonl", "b.jsonl.gz"} {
		r := start(t, Options{File: filepath.Join(dir, name)})
		testkit.Eventually(t, "the file", func() bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		})
		r.out.Reopen()
		r.out.Reopen()
		r.stop(t)
	}
	if entries, err := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
