package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

// files returns the path of a file with ten bytes, and one for its copy.
func files(t *testing.T) (from, to string) {
	t.Helper()
	dir := t.TempDir()
	from = filepath.Join(dir, "from")
	if err := os.WriteFile(from, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	return from, filepath.Join(dir, "to")
}

// A receiver for one test: its address is a destination. Wait waits for datagrams, without
// sleeping, and Params has the last value of each parameter.
func TestReport(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	from, to := files(t)
	if err := run(recv.Addr(), from, to); err != nil {
		t.Fatal(err)
	}
	recv.Wait(1)
	got := recv.Params("MySite_Transfers", "transfer")
	if seconds, ok := got["seconds"].(float64); got["status"] != "OK" || got["bytes"] != 10 || !ok || seconds < 0 {
		t.Errorf("reported %v", got)
	}
	if copied, err := os.ReadFile(to); string(copied) != "0123456789" {
		t.Errorf("%q, %v", copied, err)
	}
}

// WaitFor waits for the datagram that a condition describes.
func TestReportOfFailure(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	_, to := files(t)
	if err := run(recv.Addr(), "/no/such/file", to); err == nil {
		t.Error("no error")
	}
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return d.Params[0].Name == "status" && strings.Contains(d.Params[0].Text(), "/no/such/file")
	})
}

// The program does its work when it cannot report, here for want of a usable destination.
func TestWithoutMonitoring(t *testing.T) {
	t.Parallel()
	from, to := files(t)
	if err := run("host:port", from, to); err != nil {
		t.Error(err)
	}
	if err := transfer(func(...apmon.Param) error { return errors.New("no") }, from, to); err != nil {
		t.Error(err)
	}
}
