package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// startDemo starts the demonstration as a process of its own.
func startDemo(t testing.TB) (cmd *exec.Cmd, stderr *testkit.Log) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, stderr = exec.Command(exe, "--demo"), new(testkit.Log)
	cmd.Args[0], cmd.Stderr = "apmon-recv", stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, stderr
}

// All sockets of the demonstration are on loopback.
func TestDemoStaysOnThisHost(t *testing.T) {
	t.Parallel()
	cmd, stderr := startDemo(t)
	var sockets []testkit.Socket
	testkit.Eventually(t, "a receiver, a page and 13 senders", func() bool {
		sockets = testkit.Sockets(t, cmd.Process.Pid)
		udp, listening := 0, 0
		for _, s := range sockets {
			if !s.Local.Addr().Unmap().IsLoopback() {
				t.Fatalf("%v", s)
			}
			if strings.HasPrefix(s.Protocol, "udp") {
				udp++
			}
			if s.Listening {
				listening++
			}
		}
		return udp >= 14 && listening == 1
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.Count("none lost") != 1 {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}

// The demonstration needs little of a core, beside what looks at it.
func TestLongDemoIdle(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	testkit.Retry(t, func(t testing.TB) {
		cmd, _ := startDemo(t)
		cpu := func() (ticks float64) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := bytes.Cut(b, []byte(") "))
			for _, f := range strings.Fields(string(rest))[11:13] {
				n, _ := strconv.ParseFloat(f, 64)
				ticks += n
			}
			return ticks / 100
		}
		time.Sleep(5 * time.Second) // until its caches and connections are there
		used, start := cpu(), time.Now()
		time.Sleep(20 * time.Second)
		share := 100 * (cpu() - used) / time.Since(start).Seconds()
		t.Logf("%.2f %% of a core", share)
		if share > 3 {
			t.Errorf("%.2f %% of a core, more than 3", share)
		}
	})
}
