package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// reported runs "apmon-bg report".
func reported(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{name, "report"}, args...), func(string) string { return "" }, nil, &out, &errs)
	return out.String(), errs.String(), code
}

// The files that exec writes become text, a page and a graph; flags may follow the files.
func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	record, table, text, object := path("usage.json"), path("series.jsonl.gz"), path("prmon.txt"), path("prmon.json")
	wrapped(t, []string{"SLURM_JOB_ID=4711"}, "--no-send", "--cpus", "2", "--series-interval", "100ms", "--summary", record, "--series", table, "--prmon-txt", text, "--prmon-json", object, "--", "sh", "-c", "sleep 1; exit 3").exits(3)

	out, errs, code := reported(t, record, table)
	if code != 0 || errs != "" || !strings.Contains(out, "Job 4711: sh -c") || !strings.Contains(out, "exit code 3") || !strings.Contains(out, " of 2 CPUs") {
		t.Errorf("%d, %s\n%s", code, errs, out)
	}
	if out, errs, code := reported(t, text, object); code != 0 || strings.Count(out, "Job ") != 1 || !strings.Contains(out, "memory") {
		t.Errorf("%d, %s\n%s", code, errs, out)
	}
	page, svg := path("report.html"), path("report.svg")
	for _, args := range [][]string{{"-o", page, record, table}, {record, table, "-o", page}, {record, "--output=" + page, table}, {"--plot", "memory", table, "-o", svg}, {"-o", svg, table, "--plot=processes"}} {
		_ = os.Remove(page)
		if out, errs, code := reported(t, args...); code != 0 || out != "" || errs != "" {
			t.Errorf("%v: %d, %s, %s", args, code, out, errs)
		}
	}
	if b, err := os.ReadFile(page); err == nil && !bytes.HasPrefix(b, []byte("<!doctype html>")) {
		t.Errorf("%.100s", b)
	}
	if b, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(b, []byte("<svg")) || !bytes.Contains(b, []byte("Processes and threads")) {
		t.Errorf("%v, %.100s", err, b)
	}
	if left, _ := filepath.Glob(path(".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReportErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad, good, none := filepath.Join(dir, "bad.tsv"), filepath.Join(dir, "good.tsv"), filepath.Join(dir, "none")
	must(t, os.WriteFile(bad, []byte("time_s\trun_time_s\n1\t1\n2\n"), 0o600))
	must(t, os.WriteFile(good, []byte("time_s\trun_time_s\tprocesses\n1\t1\t1\n2\t2\t1\n"), 0o600))
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 64, "no file"},
		{[]string{bad}, 65, bad + ":3: "},
		{[]string{none}, 66, none},
		{[]string{dir}, 66, dir},
		{[]string{good, "-o", "x.png"}, 64, "neither .html nor .svg"},
		{[]string{good, "-o"}, 64, "needs an argument"},
		{[]string{good, "-x"}, 64, `unknown flag "-x"`},
		{[]string{good, "--plot", "disk", "-o", "x.svg"}, 64, "is not one of"},
		{[]string{good, "--plot", "cpu"}, 64, "needs -o FILE.svg"},
		{[]string{"--plot=cpu", "-o", "x.html", good}, 64, "needs -o FILE.svg"},
		{[]string{good, "-o", filepath.Join(none, "x.html")}, 74, "was not written"},
		{[]string{good, "-o", filepath.Join(dir, "x.svg")}, 65, `"cpu"`},
		{[]string{good, "--", "-o"}, 66, "-o"},
	} {
		if out, errs, code := reported(t, tt.args...); code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("%v: %d, %s%s", tt.args, code, errs, out)
		}
	}
}

// A full disk is an error, and the report of before stays. So is a standard output that
// cannot be written.
func TestReportFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table, page := filepath.Join(dir, "series.tsv"), filepath.Join(dir, "report.html")
	must(t, os.WriteFile(table, []byte("time_s\trun_time_s\tprocesses\n1\t1\t1\n2\t2\t1\n"), 0o600))
	must(t, os.WriteFile(page, []byte("before"), 0o600))
	out, err := exec.Command("/bin/sh", "-c", `ulimit -f 1; exec "$@"`, "sh", linked(t), "report", table, "-o", page).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 74 || !strings.Contains(string(out), "was not written") {
		t.Errorf("%v: %s", err, out)
	}
	if b, _ := os.ReadFile(page); string(b) != "before" {
		t.Errorf("%.100s", b)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	r, w := io.Pipe()
	r.Close()
	if code := run(t.Context(), []string{name, "report", table}, func(string) string { return "" }, nil, w, io.Discard); code != 74 {
		t.Errorf("a closed standard output: exit code %d", code)
	}
}
