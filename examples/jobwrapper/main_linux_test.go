package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/xdr"
)

// TestMain runs the example itself in the processes that tests start.
func TestMain(m *testing.M) {
	if os.Getenv("JOBWRAPPER_EXAMPLE") != "" {
		main()
	}
	os.Exit(m.Run())
}

func wrap(t *testing.T, args ...string) (stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "JOBWRAPPER_EXAMPLE=1")
	var b strings.Builder
	cmd.Stderr = &b
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// The CPU time of a child counts, also of one whose parent did not wait for it, and the exit
// status is reported and passed on.
func TestChildrenCount(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	const burn = `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done`
	for _, script := range []string{
		`sh -c '` + burn + `'; exit 3`,
		`ended=$( (sh -c '` + burn + `; times' &) ); exit 3`, // an orphan, until whose end the script waits
	} {
		stderr, code := wrap(t, "-d", recv.Addr(), "-n", "123456", "sh", "-c", script)
		var record jobrecord.Record
		if err := json.Unmarshal([]byte(stderr), &record); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		// The loop needs more than 50 ms on any machine of today.
		if cpu := record.CPU.Total; code != 3 || !cpu.OK || cpu.V < 0.03 {
			t.Errorf("%s: exit status %d, CPU time %+v", script, code, cpu)
		}
	}
	last := recv.WaitFor(func(d *xdr.Datagram) bool {
		for _, p := range d.Params {
			if p.Name == "exit_code" {
				return true
			}
		}
		return false
	})
	params := recv.Params("MySite_Jobs", "123456")
	if last.Node != "123456" || fmt.Sprint(params["exit_code"]) != "3" || params["cpu_time"] == nil {
		t.Errorf("%v", params)
	}
}

// The command runs and ends as it would alone if nothing can be reported.
func TestWithoutMonitoring(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-d", testkit.Refusing(t), "sh", "-c", "exit 4"}, // nobody listens
		{"-d", "no:port", "sh", "-c", "exit 4"},
	} {
		if stderr, code := wrap(t, args...); code != 4 {
			t.Errorf("%q: %d, %s", args, code, stderr)
		}
	}
	if stderr, code := wrap(t, "-d", testkit.Refusing(t), "sh", "-c", "kill -TERM $$"); code != 128+15 {
		t.Errorf("%d, %s", code, stderr)
	}
	if stderr, code := wrap(t, "/no/such/command"); code != 127 || !strings.Contains(stderr, "/no/such/command") {
		t.Errorf("%d, %s", code, stderr)
	}
	if _, code := wrap(t); code != 64 {
		t.Errorf("without a command: %d", code)
	}
}
