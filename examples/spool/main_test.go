package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

func write(t *testing.T, dir, queue, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, queue), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, queue, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "fast", "a", "12345")
	write(t, dir, "slow", "b", "123")
	recv := apmontest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-d", recv.Addr(), "-interval", "1s", dir}, io.Discard) }()

	files := func(cluster, node string, n int64) {
		t.Helper()
		recv.WaitFor(func(d *xdr.Datagram) bool {
			for _, p := range d.Params {
				if d.Cluster == cluster && (node == "" || d.Node == node) && p.Name == "files" && p.Int() == n {
					return true
				}
			}
			return false
		})
	}
	files("MySite_Spools", "", 2)
	files("MySite_Queues", "fast", 1)
	files("MySite_Queues", "slow", 1)
	write(t, dir, "slow", "c", "4567")
	files("MySite_Queues", "slow", 2)
	if got := recv.Params("MySite_Queues", "slow")["size"]; got != int64(7) && got != 7 {
		t.Errorf("size %v", got)
	}

	// The last report has the final state, whenever the one before was made.
	write(t, dir, "new", "d", "1")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	files("MySite_Queues", "new", 1)
	files("MySite_Spools", "", 4)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := spool(filepath.Join(t.TempDir(), "none"))
	if _, err := s.Collect(t.Context(), nil); err == nil {
		t.Error("Collect: no error without the directory")
	}
	if err := (queues{s}).Messages(t.Context(), nil); err == nil {
		t.Error("Messages: no error without the directory")
	}
	for _, args := range [][]string{{}, {"-d", "a:b", "."}, {"-interval", "1ms", "."}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
