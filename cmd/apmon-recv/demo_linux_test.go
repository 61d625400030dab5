package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
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

// On a terminal the demonstration is a view. After Ctrl-C the terminal is as it was, and two
// lines sum up.
func TestDemoOnTerminal(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", size.w, size.h), func(t *testing.T) {
			t.Parallel()
			s := runScreen(t, size.w, size.h, "--demo")
			s.Wait("✕ Sim_Jobs/") // a job has failed
			s.Wait(" 13 senders ")
			s.Keys("/", "Sim_Jobs", "Enter")
			screen := s.Wait("/Sim_Jobs  ") // the filter, after Enter
			lines := strings.Split(screen, "\n")
			m := regexp.MustCompile(`^(http://127\.0\.0\.1:\d+/)  .* dg/s `).FindStringSubmatch(lines[0])
			if m == nil || !strings.Contains(lines[size.h-1], "q quit") {
				t.Fatalf("no address or no keys:\n%s", screen)
			}
			s.Wait("4712") // a job
			s.Keys("C-c")
			screen = s.ended(0)
			want := `(?m)^Page: ` + regexp.QuoteMeta(m[1]) + `\n\d+ datagrams of 13 senders in \d+s, none lost: \d+ values of \d+ nodes\.\nNext: .*\nended with 0$`
			if !regexp.MustCompile(want).MatchString(screen) {
				t.Errorf("the screen after the end:\n%s", screen)
			}
		})
	}
}

// Ctrl-C ends the demonstration at any moment, with a terminal that is as it was.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://", "q quit", "dg/s"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			s := runScreen(t, 80, 24, "--demo")
			s.Wait(text)
			s.Keys("C-c")
			s.ended(0)
		})
	}
}

// The demonstration ends when its terminal goes, also if its output is a file.
func TestDemoHangUp(t *testing.T) {
	t.Parallel()
	cmd, stderr := startDemo(t)
	testkit.Eventually(t, "the address of the page", func() bool { return stderr.Count("Page: ") == 1 })
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
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
