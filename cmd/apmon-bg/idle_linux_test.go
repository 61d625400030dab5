package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// TestLongIdle: the agent stays small, and at the default interval its reports use
// almost no CPU time. With a page it keeps 8 MiB of values too.
func TestLongIdle(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	exe := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("agent", func(t *testing.T) { idle(t, 12<<10, exe) })
	t.Run("page", func(t *testing.T) { idle(t, (12+8)<<10, exe, "--http", "0") })
}

// idle measures an agent that may use some KiB of memory.
func idle(t *testing.T, memory uint64, exe string, args ...string) {
	t.Helper()
	recv := apmontest.New(t)
	cmd := exec.Command(exe, append([]string{"-d", recv.Addr(), "--interval", "1"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	reports := func() (n int) {
		for _, d := range recv.Datagrams() {
			if has(d, "load1") {
				n++
			}
		}
		return n
	}
	cpu := func() (total time.Duration) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", cmd.Process.Pid))
		for _, file := range files {
			b, _ := os.ReadFile(file)
			ns, _ := strconv.Atoi(strings.Fields(string(b) + " 0")[0])
			total += time.Duration(ns)
		}
		return total
	}
	recv.Timeout = time.Minute
	recv.WaitFor(func(d *xdr.Datagram) bool { return has(d, "load1") })
	n, used := reports(), cpu()
	recv.WaitFor(func(d *xdr.Datagram) bool { return has(d, "load1") && reports() >= n+30 })
	n, used = reports()-n, cpu()-used
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	rss := kernel.ParseStatus(b).PeakRSS.N
	share := 100 * (used / time.Duration(n)).Seconds() / 120
	t.Logf("%d reports: %v of CPU each, %.4f %% of one at the default interval; at most %d KB resident", n, used/time.Duration(n), share, rss)
	if rss == 0 || rss > memory {
		t.Errorf("%d KB resident, more than %d", rss, memory)
	}
	if share > .05 {
		t.Errorf("%.3f %% of a CPU, more than 0.05", share)
	}
}
