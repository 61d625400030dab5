package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/burner"
	"github.com/apmon-go/apmon/internal/testkit"
)

// The CPU time of a tree of 2000 processes, of 2000 processes at once, and of a job that forks
// 5000 times as fast as it can, is what the kernel counts for them: the shell's keyword "time"
// prints it.
func TestLongExecHeavyJobs(t *testing.T) {
	testkit.SkipLong(t)
	program, err := burner.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	for _, args := range []string{"tree 2000 2", "held 2000 1", "seq 5000 0"} {
		t.Run(args, func(t *testing.T) {
			dir := t.TempDir()
			file, table := filepath.Join(dir, "summary"), filepath.Join(dir, "series.tsv")
			cmd := bg(t, append([]string{"exec", "--no-send", "--series", table, "--series-interval", "100ms", "--summary", file, "--",
				"bash", "-c", `TIMEFORMAT="%U %S"; time "$@"`, "bash", program}, strings.Fields(args)...)...)
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = io.Discard, &said
			in := testkit.StartFed(t, cmd)
			defer cmd.Process.Kill()
			if strings.HasPrefix(args, "held") {
				const all = "2002" // with the shell and the first process of the burner
				testkit.Eventually(t, "all processes in a line", func() bool {
					b, _ := os.ReadFile(table)
					return strings.Contains(string(b), "\t"+all+"\t")
				})
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			var user, system float64
			if _, err := fmt.Sscan(said.String(), &user, &system); err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			s := readSummary(t, file)
			c := readTable(t, table)
			t.Logf("the kernel says %.3f s, the record %.3f s; %v processes at once, %v seen, in %v s and %d lines",
				user+system, s.CPU.Total.V, s.Levels.Processes.Max.V, s.Measured.ProcessesTotal.V, s.Job.RunTime.V, len(c["time_s"]))
			if max := s.Levels.Processes.Max.V; max > 2002 || strings.HasPrefix(args, "held") && max != 2002 {
				t.Errorf("%v processes at once", max)
			}
			// The shell uses some ms before and after.
			if diff := s.CPU.Total.V - user - system; math.Abs(diff) > .01*(user+system)+.03 || s.CPU.LowerBound {
				t.Errorf("%+v, the kernel says %v and %v", s.CPU, user, system)
			}
		})
	}
}

// memoryCgroup returns a new cgroup with a limit of memory in MiB.
func memoryCgroup(t *testing.T, mib int) (dir string) {
	t.Helper()
	limit := "memory.max"
	own, _ := os.ReadFile("/proc/self/cgroup")
	if _, path, v1 := strings.Cut(string(own), ":memory:"); v1 {
		path, _, _ = strings.Cut(path, "\n")
		var err error
		if dir, err = os.MkdirTemp(filepath.Join("/sys/fs/cgroup/memory", path), "apmon-test-"); err != nil {
			t.Skip("no cgroup with memory: ", err)
		}
		limit = "memory.limit_in_bytes"
	} else {
		dir = testkit.Cgroup(t)
	}
	t.Cleanup(func() { testkit.Eventually(t, "an empty cgroup", func() bool { return os.Remove(dir) == nil }) })
	f, err := os.OpenFile(filepath.Join(dir, limit), os.O_WRONLY, 0) // never create it
	if err == nil {
		_, err = fmt.Fprint(f, mib<<20)
		f.Close()
	}
	if err != nil {
		t.Skip("no limit of memory: ", err)
	}
	return dir
}

// A job that the kernel kills because its memory is short has the signal, the peak of its
// memory, and the number of such kills in its record.
func TestExecOutOfMemory(t *testing.T) {
	t.Parallel()
	program, err := burner.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	const limit = 48
	group, dir := memoryCgroup(t, limit), t.TempDir()
	file, table := filepath.Join(dir, "summary"), filepath.Join(dir, "series.tsv")
	// The job is in its own cgroup when the first line of the series is written.
	cmd := bg(t, "exec", "--no-send", "--memory", "40MiB", "--series", table, "--series-interval", "100ms", "--summary", file, "--",
		"sh", "-c", `echo $$ >"$0"/cgroup.procs; read line; "$@"`, group, program, "mem", "200", "0")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	in := testkit.StartFed(t, cmd)
	defer cmd.Process.Kill()
	testkit.Eventually(t, "lines of the series", func() bool { return lines(table) > 3 })
	fmt.Fprintln(in)
	_ = cmd.Wait()
	in.Close()
	s := readSummary(t, file)
	kb := s.Levels.RSS.Max.V
	if cmd.ProcessState.ExitCode() != 137 || s.Job.ExitCode.V != 137 {
		t.Errorf("%v, %+v\n%s", cmd.ProcessState, s.Job, said.String())
	}
	if kb < limit<<10*.8 || kb > limit<<10*1.1 {
		t.Errorf("rss %v, the limit is %d", kb, limit<<10)
	}
	if p := s.Levels.CgroupMemoryPeak; p.OK && (p.V < limit<<10*.9 || p.V > limit<<10*1.02) {
		t.Errorf("peak of the cgroup %v, the limit is %d", p, limit<<10)
	}
	if s.Totals.OOMKills.Total.V != 1 {
		t.Errorf("%+v, unknown: %v", s.Totals.OOMKills, s.Measured.Unknown)
	}
	if e := s.Resources.Memory.EfficiencyRequested; e.V < 100 {
		t.Errorf("memory efficiency %v", e)
	}
}
