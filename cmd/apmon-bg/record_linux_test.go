package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/burner"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

// A job that ends before any sample has a memory figure, which is not that of exec.
func TestExecShortestJob(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "summary")
	wrapped(t, nil, "--no-send", "--summary", file, "--", "true").exits(0)
	s := readSummary(t, file)
	// The race detector's memory is in the process before its exec.
	if rss := s.Levels.RSS.Max.V; rss < 100 || rss > 6000 && !testkit.Race {
		t.Errorf("rss %v", s.Levels.RSS)
	}
	if n := s.Totals; n.NetShared != nil && !n.Rx.Total.OK {
		t.Errorf("network %+v", n)
	}
	if !s.CPU.Total.OK || !s.Job.RunTime.OK || s.Hardware.Kernel == "" || !s.Hardware.CPUs.OK || !s.Hardware.Memory.OK || s.Job.End.Before(s.Job.Start.Time) {
		t.Errorf("%+v", s)
	}
}

// readTable returns the columns of a TSV file with a header. An incomplete last line is an
// error.
func readTable(t *testing.T, file string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	columns, names := map[string][]string{}, strings.Split(lines[0], "\t")
	if lines[len(lines)-1] != "" {
		t.Errorf("the last line is incomplete: %q", lines[len(lines)-1])
	}
	for _, line := range lines[1 : len(lines)-1] {
		fields := strings.Split(line, "\t")
		if len(fields) != len(names) {
			t.Fatalf("%d fields, %d columns: %q", len(fields), len(names), line)
		}
		for i, name := range names {
			columns[name] = append(columns[name], fields[i])
		}
	}
	return columns
}

func lines(file string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), "\n")
}

// The series grows while the job runs, and its last line is the end of the job: with all
// counters, and no levels.
func TestExecSeries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, summary := filepath.Join(dir, "series.tsv"), filepath.Join(dir, "summary")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := startWith(t, r, nil, "exec", "--no-send", "--series", file, "--series-interval", "200ms", "--summary", summary, "--", "cat")
	testkit.Eventually(t, "lines of the series", func() bool { return lines(file) > 5 })
	w.Close()
	p.exits(0)
	c := readTable(t, file)
	last := len(c["time_s"]) - 1
	for i := range last {
		if c["rss_kb"][i] == "" || c["rss_kb"][i] == "0" || c["processes"][i] != "1" {
			t.Errorf("line %d: rss %q, processes %q", i, c["rss_kb"][i], c["processes"][i])
		}
	}
	s := readSummary(t, summary)
	if n := s.Totals; !n.Rx.Total.OK || !n.TxPackets.Total.OK || n.NetShared == nil || !*n.NetShared {
		t.Errorf("network %+v", n)
	}
	if c["rss_kb"][last] != "" || c["rchar_bytes"][last] == "" || c["pss_kb"][0] != "" || s.Levels.RSS.Last.V <= 0 || s.Levels.PSS.Max.OK {
		t.Errorf("the last line has rss %q, rchar %q; pss %q; the summary %+v", c["rss_kb"][last], c["rchar_bytes"][last], c["pss_kb"][0], s.Levels)
	}
}

// The series is split by the direct children of the command, and a report draws them.
func TestExecChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, svg := filepath.Join(dir, "series.tsv"), filepath.Join(dir, "children.svg")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := startWith(t, r, nil, "exec", "--no-send", "--series", file, "--series-interval", "100ms", "--series-children", "2", "--", "sh", "-c", "exec 3<&0; cat <&3 & cat <&3 & cat <&3 & wait")
	split := func() bool {
		b, _ := os.ReadFile(file)
		all := strings.Split(string(b), "\n")
		return len(all) > 4 && strings.Count(all[len(all)-2], "\t\t") < strings.Count(all[1], "\t\t") || len(all) > 20
	}
	testkit.Eventually(t, "lines with children", split)
	w.Close()
	p.exits(0)
	c := readTable(t, file)
	pids := map[string]bool{}
	for i, pid := range c["child2_pid"] {
		if pid != "" {
			pids[pid] = true
			if c["child2_cpu_s"][i] == "" || c["child2_rss_kb"][i] == "" || c["child2_rss_kb"][i] == "0" || c["child1_pid"][i] == pid {
				t.Errorf("line %d: %q", i, c["child2_rss_kb"][i])
			}
		}
	}
	if len(pids) == 0 || c["child3_pid"] != nil {
		t.Errorf("children %v", c["child2_pid"])
	}
	run := start(t, nil, "report", "--plot", "children", "-o", svg, file)
	run.wait()
	run.exits(0)
	wrapped(t, nil, "--series-children", "65", "--", "true").exits(64)
}

// If exec is killed, the series has all lines so far, and the job lives.
func TestExecKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, alive := filepath.Join(dir, "series.tsv"), filepath.Join(dir, "alive")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := startWith(t, r, nil, "exec", "--no-send", "--series", file, "--series-interval", "100ms", "--", "sh", "-c", "exec cat >"+alive+" 2>&1")
	testkit.Eventually(t, "lines of the series", func() bool { return lines(file) > 3 })
	p.Process.Kill()
	p.wait()
	if n := len(readTable(t, file)["time_s"]); n < 3 {
		t.Errorf("%d lines", n)
	}
	fmt.Fprintln(w, "alive")
	testkit.Eventually(t, "the job", func() bool { return lines(alive) == 1 })
}

// Readers of prmon's files find its columns and keys, and true figures.
func TestExecPrmonFiles(t *testing.T) {
	t.Parallel()
	burnerPath, err := burner.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	text, object, summary := filepath.Join(dir, "prmon.txt"), filepath.Join(dir, "prmon.json"), filepath.Join(dir, "summary")
	p := wrapped(t, nil, "--no-send", "--prmon-txt", text, "--prmon-json", object, "--orphan-wait", "60s", "--series-interval", "1s", "--summary", summary, "--", burnerPath, "orphans", "3", "400")
	p.exits(0)
	s := readSummary(t, summary)
	c := readTable(t, text)
	const columns = "Time wtime pss rss swap vmem rchar read_bytes wchar write_bytes rx_bytes rx_packets tx_bytes tx_packets stime utime nprocs nthreads"
	if b, _ := os.ReadFile(text); !strings.HasPrefix(string(b), strings.ReplaceAll(columns, " ", "\t")+"\n") || len(c["Time"]) < 1 {
		t.Errorf("%s", b)
	}
	var o struct {
		Max, Avg map[string]float64
		HW       struct{ CPU, Mem map[string]any }
		Prmon    map[string]string
	}
	b, err := os.ReadFile(object)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil || o.Prmon["Version"] == "" || o.HW.Mem["MemTotal"] == nil || o.HW.CPU["CPUs"] == nil {
		t.Errorf("%v\n%s", err, b)
	}
	if cpu := o.Max["utime"] + o.Max["stime"]; cpu < s.CPU.Total.V-.02 || cpu > s.CPU.Total.V+.02 || cpu < 1 || o.Max["pss"] <= 0 || o.Max["nprocs"] != s.Levels.Processes.Max.V || o.Avg["rss"] <= 0 {
		t.Errorf("%s\nthe summary has %+v", b, s.CPU)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A full disk and files that cannot be written are logged once each. They do not harm the
// job.
func TestExecUnwritableSeries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := linked(t)
	// The job ends when the lines are there, and some samples later.
	const job = `for i in $(seq 600); do [ $(grep -c "not written" "$0") -ge "$1" ] && break; sleep 0.1; done; sleep 1; exit 6`
	run := func(limit string, want int, args ...string) {
		t.Helper()
		stderr, err := os.Create(filepath.Join(dir, "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer stderr.Close()
		args = append(append([]string{"-c", limit + `exec "$@"`, "sh", link, "exec", "--no-send", "--series-interval", "100ms"}, args...), "--", "sh", "-c", job, stderr.Name(), strconv.Itoa(want))
		cmd := exec.Command("/bin/sh", args...)
		cmd.Stderr = stderr
		if code := exitCode(t, cmd); code != 6 {
			t.Errorf("%v: exit code %d", args, code)
		}
		text, _ := os.ReadFile(stderr.Name())
		if n := strings.Count(string(text), "not written"); n != want {
			t.Errorf("%v: %d lines, want %d\n%s", args, n, want, text)
		}
	}
	series := filepath.Join(dir, "series.tsv")
	run("ulimit -f 1; ", 1, "--series", series) // 512 or 1024 bytes
	readTable(t, series)                        // no half line
	none := filepath.Join(dir, "none", "x")
	run("", 3, "--series", none+"1", "--prmon-txt", none+"2", "--prmon-json", none+"3")
	run("", 2, "--series", fifo, "--prmon-txt", dir)
}

// A variable switches parameters off where the flags are hidden.
func TestExecDisable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, summary := filepath.Join(dir, "prmon.txt"), filepath.Join(dir, "summary")
	p := wrapped(t, []string{"APMON_EXEC_DISABLE=pss, io,nonsense"}, "--no-send", "--prmon-txt", text, "--summary", summary, "--", "sleep", "1")
	p.exits(0)
	p.says("nonsense")
	s := readSummary(t, summary)
	if s.Levels.PSS.Max.OK || s.Totals.RChar.Total.OK || !s.Levels.RSS.Last.OK || !s.Totals.CSVoluntary.Total.OK || s.Measured.Unknown["rchar_bytes"] == "" {
		t.Errorf("%+v", s)
	}
	if c := readTable(t, text); c["pss"] != nil || c["rss"] == nil {
		t.Errorf("%v", c)
	}
}

// The denominators of the efficiencies come from the batch system.
func TestExecResources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ad, summary := filepath.Join(dir, "job.ad"), filepath.Join(dir, "summary")
	if err := os.WriteFile(ad, []byte("ClusterId = 12\nProcId = 0\nRequestCpus = 2\nRequestMemory = 1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{
		"_CONDOR_JOB_AD Request": {"_CONDOR_JOB_AD=" + ad, "SLURM_JOB_ID=1", "SLURM_MEM_PER_NODE=9"},
		"SLURM_":                 {"SLURM_JOB_ID=1", "SLURM_JOB_NUM_NODES=1", "SLURM_CPUS_PER_TASK=2", "SLURM_MEM_PER_NODE=1000"},
		"--":                     {"_CONDOR_JOB_AD=" + filepath.Join(dir, "none")},
	} {
		args := []string{"--no-send", "--summary", summary, "--", "sleep", "0.3"}
		if name == "--" {
			args = append([]string{"--cpus", "2", "--memory", "1000MiB", "--time-limit", "1h"}, args...)
		}
		wrapped(t, env, args...).exits(0)
		x := readSummary(t, summary).Resources
		if x.CPUs.Requested != procinfo.Known(2) || x.Memory.Requested != procinfo.Known(1000*1024) || !strings.HasPrefix(string(x.CPUs.RequestedSource), name) || !strings.HasPrefix(string(x.Memory.RequestedSource), name) {
			t.Errorf("%s: %+v", name, x)
		}
		if x.Time.Requested.OK != (name == "--") || x.CPUs.EfficiencyRequested.V > 50 || !x.CPUs.EfficiencyRequested.OK || x.Memory.EfficiencyRequested.V <= 0 {
			t.Errorf("%s: %+v", name, x)
		}
	}
	wrapped(t, nil, "--no-send", "--summary", summary, "--", "true").exits(0)
	if x := readSummary(t, summary).Resources; x.CPUs.Requested.OK || x.CPUs.EfficiencyRequested.OK || x.Memory.Requested.OK || !x.CPUs.Used.OK {
		t.Errorf("without a request: %+v", x)
	}
	for _, args := range [][]string{{"--memory", "lots"}, {"--time-limit", "-1"}, {"--series-interval", "1ms"}, {"--series-max", "3"}, {"--series-max", "3x"},
		{"--prmon-json", "-"}, {"--series", "-"}, {"--summary", summary, "--series", filepath.Join(dir, ".", "summary")}, {"--prmon-txt", "x", "--prmon-json", "./x"}} {
		wrapped(t, nil, append(args, "--", "true")...).exits(64)
	}
	wrapped(t, nil, "--no-send", "--summary", "/dev/stderr", "--prmon-json", "/dev/stderr", "--", "true").exits(0)
}

// Samples are frequent in the beginning, then at multiples of the interval.
func TestFollowing(t *testing.T) {
	t.Parallel()
	elapsed := time.Duration(0)
	for i, want := range []float64{.1, .3, .9, 2.7, 8.1, 10, 20, 30} {
		if elapsed = following(elapsed, 10*time.Second); elapsed.Seconds() != want {
			t.Errorf("%d: %v, want %v s", i, elapsed, want)
		}
	}
	if got := following(time.Minute+time.Millisecond, 200*time.Millisecond); got != time.Minute+200*time.Millisecond {
		t.Errorf("%v", got)
	}
}
