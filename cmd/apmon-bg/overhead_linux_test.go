package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/testkit"
)

// mostMemory is the bar for the resident memory of exec, in KiB.
const mostMemory = 12 << 10

// released builds the program as for a release. The kernel keeps such a file in small pieces
// of its cache. If it were written in one piece, and thus kept in large ones, the program
// would start faster, and have some 3 MB more of it resident.
func released(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "urfave_cli_no_docs", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// memoryOf returns the resident memory of a process and its peak, in KiB.
func memoryOf(t *testing.T, pid int) (now, peak uint64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	st := kernel.ParseStatus(b)
	return st.RSS.N, st.PeakRSS.N
}

// TestLongOverhead measures what exec itself uses beside a job that sleeps. Its log has the
// rows of the table in docs/jobs.md. At 100ms the series reaches its length and is thinned.
func TestLongOverhead(t *testing.T) {
	testkit.SkipLong(t)
	exe := released(t)
	for _, interval := range []string{"1s", "30s", "100ms"} {
		t.Run(interval, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			table := filepath.Join(dir, "series.tsv")
			cmd := exec.Command(exe, "exec", "--no-send", "--series", table, "--series-interval", interval, "--series-max", "400", "--summary", filepath.Join(dir, "summary"), "--", "cat")
			in := testkit.StartFed(t, cmd)
			defer cmd.Process.Kill()
			testkit.Eventually(t, "lines", func() bool { return lines(table) > 3 })
			used := func() time.Duration {
				var ts unix.Timespec
				if err := unix.ClockGettime(int32(^cmd.Process.Pid<<3|2), &ts); err != nil {
					t.Fatal(err)
				}
				return time.Duration(ts.Nano())
			}
			const span = time.Minute
			before, began := used(), time.Now()
			time.Sleep(span) // the overhead of this time
			perHour := (used() - before).Seconds() * float64(time.Hour) / float64(time.Since(began))
			now, peak := memoryOf(t, cmd.Process.Pid)
			t.Logf("| %s | %.2f | %.1f | %.1f |", interval, perHour, float64(now)/1024, float64(peak)/1024)
			if interval != "100ms" && perHour > 90 || now > mostMemory {
				t.Errorf("%v CPU seconds per hour, %v KiB, at most %v KiB", perHour, now, peak)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLongExecStart measures how much longer a command takes under exec. The floors are the
// command alone and a Go program that does nothing. All run in turn, and the least time of
// each counts. The bar is 5 ms on an idle machine, where the latter takes 1.2 ms. On a busy
// one, exec waits for a CPU more often than the floors, which have fewer threads.
func TestLongExecStart(t *testing.T) {
	testkit.SkipLong(t)
	exe, dir := released(t), t.TempDir()
	source, idle := filepath.Join(dir, "idle.go"), filepath.Join(dir, "idle")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", idle, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testkit.Retry(t, func(t testing.TB) {
		commands := [][]string{{"true"}, {idle}, {exe, "exec", "--no-send", "--", "true"}}
		took := make([][]time.Duration, len(commands))
		for range 100 {
			for i, c := range commands {
				began := time.Now()
				if err := exec.Command(c[0], c[1:]...).Run(); err != nil {
					t.Fatal(err)
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
		bare, nothing, wrapped := slices.Min(took[0]), slices.Min(took[1]), slices.Min(took[2])
		t.Logf("true %v, a Go program that does nothing %v, exec true %v: %v more, %.1f times true", bare, nothing, wrapped, wrapped-bare, float64(wrapped-bare)/float64(bare))
		if wrapped-bare > max(5*time.Millisecond, 8*nothing) {
			t.Errorf("exec adds %v, a Go program that does nothing takes %v", wrapped-bare, nothing)
		}
	})
}
