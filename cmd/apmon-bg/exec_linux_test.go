package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/burner"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/xdr"
)

// wrapped runs apmon-bg exec with a shell script to its end.
func wrapped(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	p := start(t, env, append([]string{"exec"}, args...)...)
	p.wait()
	return p
}

func TestExecExitCodes(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "script") // without #!
	if err := os.WriteFile(script, []byte("exit $(($1 + 1))\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{"--", "true"}, 0},
		{[]string{"--", "sh", "-c", "exit 7"}, 7},
		{[]string{"sh", "-c", "exit 7"}, 7},
		{[]string{"--", "sh", "-c", "kill -KILL $$"}, 137},
		{[]string{"--", script, "4"}, 5},
		{[]string{"--", filepath.Join(dir, "none")}, 127},
		{[]string{"--", "no-such-command"}, 127},
		{[]string{"--", dir}, 126},
		{nil, 64},
		{[]string{"--nonsense", "--", "true"}, 64},
		{[]string{"--accounting", "me", "--", "true"}, 64},
		{[]string{"--set", "x", "--", "true"}, 64},
		{[]string{"--set", "x=", "--", "true"}, 65},
		{[]string{"--cpus", "-1", "--", "true"}, 64},
	} {
		// An unreadable folder in PATH would make it 126.
		p := wrapped(t, []string{"PATH=/usr/bin:/bin"}, append([]string{"-d", recv.Addr()}, tt.args...)...)
		if got := p.ProcessState.ExitCode(); got != tt.code {
			t.Errorf("%v: exit code %d, want %d\n%s", tt.args, got, tt.code, p.stderr.String())
		}
	}
	p := wrapped(t, nil, "-d", recv.Addr(), "--reraise", "--", "sh", "-c", "kill -TERM $$")
	if ws := p.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("--reraise: %v", p.ProcessState)
	}
}

// A job that does nothing is reported too.
func TestExecReports(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "summary.json")
	p := wrapped(t, []string{"SLURM_JOB_ID=4711", "APMON_CLUSTER=MySite_Jobs"}, "-d", recv.Addr(), "--set", "run=12", "--set", "tag=a b",
		"--workdir", dir, "--cpus", "2", "--accounting", "alice/jane", "--benchmark", "db12=10", "--summary", file, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
	p.exits(3)
	if p.stdout.String() != "out\n" || p.stderr.String() != "err\n" {
		t.Errorf("printed %q and %q", p.stdout.String(), p.stderr.String())
	}
	status := func(want string) *xdr.Datagram {
		return recv.WaitFor(func(d *xdr.Datagram) bool {
			return d.Cluster == "MySite_Jobs" && d.Node == "4711" && text(d, "status") == want
		})
	}
	first, last := status("started"), status("ended")
	for _, d := range []*xdr.Datagram{first, last} {
		for _, name := range []string{"run", "tag", "cpu_time", "run_time", "workdir_size", "disk_free", "cpu_db12", "cpu_efficiency"} {
			if !has(d, name) {
				t.Errorf("no %s in %v", name, d.Params)
			}
		}
	}
	if has(first, "exit_code") || !has(last, "exit_code") {
		t.Errorf("first %v\nlast %v", first.Params, last.Params)
	}
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return d.Cluster == "alice" && d.Node == "#acc_jane" && text(d, "jobid") == "4711" && has(d, "utime")
	})

	s := readSummary(t, file)
	j := &s.Job
	if j.ExitCode != procinfo.Known(3) || j.Signal.OK || s.Measured.ProcessesTotal.V != 1 || s.Levels.PSS.Max.OK || j.Cluster != "MySite_Jobs" || j.Node != "4711" ||
		j.BatchSystem != "slurm" || j.BatchID != "4711" || !slices.Equal(j.Command, []string{"sh", "-c", "echo out; echo err >&2; exit 3"}) || s.Hardware.Benchmarks.DB12.V != 10 {
		t.Errorf("summary %+v", s)
	}
	if x := s.Resources.CPUs; x.Allocated.V > 2 || x.Requested.V != 2 || x.RequestedSource != "--cpus" || !x.EfficiencyRequested.OK {
		t.Errorf("CPUs %+v", x)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func text(d *xdr.Datagram, name string) string {
	for _, p := range d.Params {
		if p.Name == name && p.Type() == xdr.TypeString {
			return p.Text()
		}
	}
	return ""
}

// A summary is written to its file, and to no other.
func TestExecSummaryFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious, link, fifo := filepath.Join(dir, "precious"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(precious, []byte("keep"), 0o600), os.Symlink(precious, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	wrapped(t, nil, "-d", "127.0.0.1:9", "--summary", link, "--", "true").exits(0)
	if b, _ := os.ReadFile(precious); string(b) != "keep" {
		t.Errorf("the target of a link holds %q", b)
	}
	if b, _ := os.ReadFile(link); !json.Valid(b) {
		t.Errorf("the link was replaced by %q", b)
	}
	p := wrapped(t, nil, "-d", "127.0.0.1:9", "--summary", fifo, "--", "true") // never read
	p.exits(0)
	p.says("summary not written")

	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := bg(t, "exec", "-d", "127.0.0.1:9", "--summary", "/dev/stdout", "--", "echo", "hello")
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(out.Name()); !bytes.HasPrefix(b, []byte("hello\n{")) || !json.Valid(b[6:]) {
		t.Errorf("standard output holds %q", b)
	}
}

// An existing file keeps its mode, a new one has the mode that the umask leaves. A
// summary can have any valid file name.
func TestExecSummaryMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, long, link := filepath.Join(dir, "old"), filepath.Join(dir, strings.Repeat("n", 250)), linked(t)
	must(t, os.WriteFile(old, nil, 0o600))
	for _, tt := range []struct {
		file string
		want os.FileMode
	}{{old, 0o600}, {long, 0o640}} {
		out, err := exec.Command("/bin/sh", "-c", `umask 027; exec "$@"`, "sh", link, "exec", "--no-send", "--summary", tt.file, "--", "true").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%v, said %q", err, out)
		}
		st, err := os.Stat(tt.file)
		if err != nil {
			t.Error(err)
		} else if st.Mode() != tt.want || st.Size() == 0 {
			t.Errorf("%.20s: %v, %d bytes, want %v", filepath.Base(tt.file), st.Mode(), st.Size(), tt.want)
		}
	}
}

// A device is written to and never replaced, also through a link.
func TestExecSummaryDevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	null, link := filepath.Join(dir, "null"), filepath.Join(dir, "link")
	if err := syscall.Mknod(null, syscall.S_IFCHR|0o600, 1<<8|3); err != nil {
		t.Skip("cannot create a device: ", err)
	}
	block := filepath.Join(dir, "block")
	if err := errors.Join(os.Symlink(null, link), syscall.Mknod(block, syscall.S_IFBLK|0o600, 7<<8|250)); err != nil {
		t.Skip("cannot create a device: ", err)
	}
	for _, file := range []string{null, link, block} {
		wrapped(t, nil, "--no-send", "--summary", file, "--", "sh", "-c", "exit 3").exits(3)
	}
	for file, mode := range map[string]os.FileMode{null: os.ModeDevice | os.ModeCharDevice, link: os.ModeSymlink, block: os.ModeDevice} {
		if st, err := os.Lstat(file); err != nil || st.Mode().Type() != mode {
			t.Errorf("%s is now %v, %v", file, st.Mode(), err)
		}
	}
}

// A file that cannot be replaced is written in place: in a container it may be a
// mount point.
func TestExecSummaryMountPoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, file := filepath.Join(dir, "source"), filepath.Join(dir, "summary")
	if err := errors.Join(os.WriteFile(source, bytes.Repeat([]byte("x"), 9999), 0o600), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := unshared(t, fmt.Sprintf("mount --bind '%s' '%s'", source, file), "exec", "--no-send", "--summary", file, "--", "true")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v, said %q", err, out)
	}
	if s := readSummary(t, source); s.Job.ExitCode != procinfo.Known(0) {
		t.Errorf("summary %v", s)
	}
}

// unshared returns a call of apmon-bg in a mount namespace of its own, after a shell
// command that mounts. It skips the test if that is not permitted.
func unshared(t *testing.T, mount string, args ...string) *exec.Cmd {
	t.Helper()
	shell := []string{"-m", "sh", "-c", "mount --make-rprivate / && " + mount + ` && exec "$@"`, "sh"}
	if out, err := exec.Command("unshare", append(shell, "true")...).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %v\n%s", err, out)
	}
	return exec.Command("unshare", slices.Concat(shell, []string{named(t)}, args)...)
}

// Without /proc the job runs, and the summary has what wait4(2) returns.
func TestExecWithoutProc(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "summary")
	cmd := unshared(t, "mount -t tmpfs none /proc", "exec", "--no-send", "--summary", file, "--", "sh", "-c", "sleep 0.05; test ! -e /proc/self && exit 3")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if code := exitCode(t, cmd); code != 3 {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	if s := readSummary(t, file); s.Job.ExitCode.V != 3 || s.Levels.RSS.Max.V <= 0 || s.Levels.RSS.Last.OK || s.Levels.PSS.Max.OK {
		t.Errorf("summary %+v", s)
	}
}

func TestExecSummaryToStandardOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := bg(t, "exec", "--no-send", "--summary", "-", "--", "echo", "hello")
	cmd.Dir = dir
	b, err := cmd.Output()
	if after, ok := bytes.CutPrefix(b, []byte("hello\n{")); err != nil || !ok || !json.Valid(append([]byte("{"), after...)) {
		t.Errorf("%v, printed %q", err, b)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("wrote %v", files)
	}
	// Standard output is never read: the end of the job does not wait for it.
	cmd = bg(t, "exec", "--no-send", "--summary", "-", "--", "sh", "-c", "exit 6")
	cmd.Stdout = fullPipe(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if exitCode(t, cmd) != 6 || !strings.Contains(stderr.String(), "summary not written") {
		t.Errorf("with a full standard output: %v, standard error %q", cmd.ProcessState, stderr.String())
	}
}

// readSummary reads a summary, which must follow its schema.
func readSummary(t *testing.T, file string) (r jobrecord.Record) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if faults := testkit.ReadJSONSchema(t, "../../docs/job-record.schema.json").Check(b); len(faults) > 0 {
		t.Errorf("%s\n%s", strings.Join(faults, "\n"), b)
	}
	return r
}

// accounted asserts that an accounting record has all parameters that the receiver
// requires.
func accounted(t *testing.T, d *xdr.Datagram) {
	t.Helper()
	for _, name := range []string{"jobid", "start", "stop", "cpu_MHz", "utime", "stime", "virtualmem", "rss"} {
		if !has(d, name) {
			t.Errorf("the accounting record lacks %s: %v", name, d.Params)
		}
	}
}

// A command that cannot be started has a last report, an accounting record and a summary
// with the reason.
func TestExecCannotStart(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		command, node string
		code          float64
	}{{filepath.Join(dir, "none"), "127", 127}, {dir, "126", 126}} {
		file := filepath.Join(dir, "summary"+tt.node)
		if err := os.WriteFile(file, []byte(`{"exit_code":0}`), 0o600); err != nil {
			t.Fatal(err)
		}
		p := wrapped(t, nil, "-d", recv.Addr(), "-c", "C", "-n", tt.node, "--accounting", "G/U"+tt.node, "--set", "run=12", "--summary", file, "--", tt.command)
		p.exits(int(tt.code))
		p.says(tt.command)
		last := recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "C" && d.Node == tt.node })
		if text(last, "status") != "ended" || number(last, "exit_code") != tt.code || !has(last, "run") || has(last, "rss") {
			t.Errorf("the last report is %v", last.Params)
		}
		d := recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "G" && d.Node == "#acc_U"+tt.node })
		if accounted(t, d); text(d, "jobid") != tt.node {
			t.Errorf("the accounting record is of %q", text(d, "jobid"))
		}
		s := readSummary(t, file)
		if !strings.Contains(string(s.Job.Error), tt.command) || s.Job.ExitCode.V != tt.code || s.Job.PID.OK {
			t.Errorf("summary %+v", s)
		}
	}
}

// number returns the value of a parameter.
func number(d *xdr.Datagram, name string) float64 {
	for _, p := range d.Params {
		if p.Name == name && p.Type() != xdr.TypeString {
			return p.Float()
		}
	}
	return -1
}

// The last report, the accounting record and the summary hold the peaks of a job that
// has ended, and no zeros. Pss is measured if the configuration switches it on.
func TestExecPeaks(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	config, file := filepath.Join(dir, "apmon.conf"), filepath.Join(dir, "summary")
	if err := os.WriteFile(config, []byte(recv.Addr()+"\nxApMon_job_pss = on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := startWith(t, r, nil, "exec", "-f", config, "-c", "C", "-n", "N", "--accounting", "G/U", "--summary", file, "--", "cat")
	alive := []string{"rss", "virtualmem", "pss", "mem_usage", "processes", "threads", "open_files"}
	peaks := []string{"max_rss", "max_virtualmem", "max_pss", "max_processes", "max_threads", "max_open_files"}
	first := recv.WaitFor(func(d *xdr.Datagram) bool { return text(d, "status") == "started" })
	for _, name := range alive {
		if number(first, name) <= 0 {
			t.Errorf("the first report has %s = %v", name, number(first, name))
		}
	}
	w.Close()
	p.exits(0)
	last := recv.WaitFor(func(d *xdr.Datagram) bool { return text(d, "status") == "ended" })
	account := recv.WaitFor(func(d *xdr.Datagram) bool { return d.Node == "#acc_U" })
	s := readSummary(t, file)
	for i, name := range alive {
		if has(last, name) {
			t.Errorf("%s is in the last report", name)
		}
		if i < 2 { // the peak of the process is that of the job
			if number(last, peaks[i]) < number(first, name) {
				t.Errorf("%s was %v, %s is %v", name, number(first, name), peaks[i], number(last, peaks[i]))
			}
			if number(account, name) != number(last, peaks[i]) {
				t.Errorf("%s of the accounting record is %v, %s is %v", name, number(account, name), peaks[i], number(last, peaks[i]))
			}
		}
	}
	for i, l := range []jobrecord.Level{s.Levels.RSS, s.Levels.VMem, s.Levels.PSS, s.Levels.Processes, s.Levels.Threads, s.Levels.OpenFiles} {
		if v := number(last, peaks[i]); v <= 0 || l.Max.V != v || l.Last.V <= 0 || l.Avg.V <= 0 || l.Avg.V > l.Max.V {
			t.Errorf("%s is %v in the last report, %+v in the summary", peaks[i], v, l)
		}
	}
	if accounted(t, account); number(account, "stop") < number(account, "start") {
		t.Errorf("the accounting record is %v", account.Params)
	}
}

// Without a destination, and with --no-send, the job is measured, and nothing is sent or
// logged.
func TestExecWithoutDestination(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "summary")
	measured := func(args ...string) {
		t.Helper()
		p := wrapped(t, nil, append(args, "--accounting", "G/U", "--summary", file, "--", "sh", "-c", "exit 3")...)
		p.exits(3)
		if p.stderr.String() != "" {
			t.Errorf("%v: said %q", args, p.stderr.String())
		}
		if s := readSummary(t, file); s.Job.ExitCode.V != 3 || !s.Measured.Samples.OK || !s.Job.RunTime.OK {
			t.Errorf("%v: summary %+v", args, s)
		}
		os.Remove(file)
	}
	if _, err := os.Stat(conf.SystemFile); err != nil {
		measured()
	}
	recv := apmontest.New(t)
	measured("--no-send", "-d", recv.Addr())
	wrapped(t, nil, "-d", recv.Addr(), "-n", "marker", "--", "true").exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Node == "marker" })
	for _, d := range recv.Datagrams() {
		if d.Node != "marker" {
			t.Errorf("--no-send sent %v", d)
		}
	}
}

// A work directory that does not exist yet is logged once, and measured when it exists.
func TestExecWorkDirAppears(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := filepath.Join(t.TempDir(), "later")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := startWith(t, r, nil, "exec", "-d", recv.Addr(), "--workdir", dir, "--", "cat")
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return text(d, "status") == "started" && has(d, "cpu_time") && !has(d, "workdir_size")
	})
	p.says(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return text(d, "status") == "ended" && has(d, "workdir_size") && has(d, "disk_free")
	})
	if n := p.stderr.Count("\n"); n != 1 {
		t.Errorf("said %d lines: %s", n, p.stderr.String())
	}
}

// Reading files for names and values does not block the job.
func TestExecDoesNotWaitForPipes(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "ad")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	wrapped(t, []string{"_CONDOR_JOB_AD=" + fifo}, "-d", "127.0.0.1:9", "--", "sh", "-c", "exit 4").exits(4)

	cmd := bg(t, "exec", "-f", "/nonexistent", "--interval", "0", "--summary", "/nonexistent/x", "--", "sh", "-c", "exit 5")
	cmd.Stderr = fullPipe(t)
	if exitCode(t, cmd) != 5 {
		t.Errorf("with a full standard error: %v", cmd.ProcessState)
	}
}

// If monitoring fails, the job still runs, and its end is delayed by at most 2 s.
func TestExecNeverFailsTheJob(t *testing.T) {
	t.Parallel()
	l := silentServer(t)
	full := "/dev/full"
	for _, tt := range []struct {
		env  []string
		args []string
		says string
	}{
		{nil, []string{"-f", "http://" + l.Addr().String() + "/conf"}, "no configuration was read in time"},
		{nil, []string{"-d", "no-such-host.invalid"}, ""},
		{nil, []string{"-d", "h:port"}, "port"},
		{nil, []string{"-f", "/nonexistent"}, "/nonexistent"},
		{[]string{"APMON_CONFIG={broken"}, nil, "APMON_CONFIG"},
		{[]string{"APMON_PASSWORD_FILE=/nonexistent"}, []string{"-d", "127.0.0.1:9"}, "APMON_PASSWORD_FILE"},
		{[]string{"APMON_DEBUG_LEVEL=LOUD"}, []string{"-d", "127.0.0.1:9"}, "LOUD"},
		{[]string{"APMON_INTERVAL=never"}, []string{"-d", "127.0.0.1:9"}, "never"},
		{nil, []string{"-d", "127.0.0.1:9", "-c", " "}, "name of the job"},
		{nil, []string{"-d", "127.0.0.1:9", "--summary", "/nonexistent/summary"}, "summary not written"},
		{nil, []string{"-d", "127.0.0.1:9", "--summary", full}, "summary not written"},
	} {
		// On a busy machine the end of a process may be noticed late.
		testkit.Retry(t, func(late testing.TB) {
			p := start(t, tt.env, append(append([]string{"exec"}, tt.args...), "--", "sh", "-c", "date +%s%N; exit 4")...)
			p.exits(4)
			var ended int64
			if _, err := fmt.Sscan(p.stdout.String(), &ended); err != nil {
				t.Fatalf("%v: it did not run: %v", tt.args, err)
			}
			if d := time.Since(time.Unix(0, ended)); d > 3*time.Second {
				late.Errorf("%v %v: ended %v after the job", tt.env, tt.args, d)
			}
			if !strings.Contains(p.stderr.String(), tt.says) {
				t.Errorf("%v %v: standard error %q, want %q", tt.env, tt.args, p.stderr.String(), tt.says)
			}
		})
	}
}

func TestExecOrphans(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	pidfile := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	p := wrapped(t, nil, "-d", recv.Addr(), "--orphan-wait", "100ms", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! >"+pidfile)
	p.exits(0)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("waited %v for a daemon", d)
	}
	var pid int
	b, _ := os.ReadFile(pidfile)
	fmt.Sscan(string(b), &pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the orphan: %v", err)
	}
	p = wrapped(t, nil, "-d", recv.Addr(), "--orphan-wait", "0s", "--kill-orphans", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! >"+pidfile)
	p.exits(0)
	b, _ = os.ReadFile(pidfile)
	fmt.Sscan(string(b), &pid)
	testkit.Eventually(t, "the end of the orphan", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}

// TestExecCountsCPUTime: the CPU time of the job is the sum of the times that its
// processes report. The reports lack the exits of the processes, 0.3 to 1 ms for each.
func TestExecCountsCPUTime(t *testing.T) {
	t.Parallel()
	burnerPath, err := burner.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		args      string
		reports   int
		processes int // including those that report nothing
	}{
		{"self 200", 1, 1}, {"seq 5 60", 6, 6}, {"par 4 60", 5, 5}, {"orphans 3 60", 4, 7}, {"daemon 200", 2, 3}, {"threads 3 60", 1, 1},
		{"exec 100", 1, 1}, {"ignore 4 500", 5, 5}, {"rootdies 3 60", 4, 4}, {"held 4 60", 5, 5}, {"tree 12 10", 13, 13},
	} {
		t.Run(tt.args, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "summary")
			cmd := bg(t, append([]string{"exec", "-d", "127.0.0.1:9", "--orphan-wait", "10s", "--summary", file, "--", burnerPath}, strings.Fields(tt.args)...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			in, out := testkit.StartPiped(t, cmd)
			kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer kill.Stop()
			defer cmd.Process.Kill()
			var sum time.Duration
			for i := range tt.reports {
				r, err := burner.Read(out)
				if err != nil {
					t.Fatalf("report %d: %v", i+1, err)
				}
				sum += r.CPU
			}
			in.Close()
			_, _ = io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			s := readSummary(t, file).CPU
			allowed := sum.Seconds()/100 + .002*float64(tt.processes)
			diff := s.Total.V - sum.Seconds()
			t.Logf("they say %.4f s, we say %.4f s (lower bound: %v)", sum.Seconds(), s.Total.V, s.LowerBound)
			switch {
			case strings.HasPrefix(tt.args, "ignore") && s.LowerBound:
				if diff > sum.Seconds()/10+allowed { // the counter includes stolen time
					t.Errorf("a lower bound of %v s for %v", s.Total.V, sum)
				}
			case strings.HasPrefix(tt.args, "ignore"): // by a counter, or a cgroup
				if max(diff, -diff) > sum.Seconds()/10+allowed {
					t.Errorf("billed %v s for %v", s.Total.V, sum)
				}
			case max(diff, -diff) > allowed || s.LowerBound:
				t.Errorf("billed %v s for %v, lower bound: %v", s.Total.V, sum, s.LowerBound)
			}
		})
	}
}

// Exec costs the same beside few and beside many processes.
func TestLongExecCost(t *testing.T) {
	testkit.SkipLong(t)
	cost := func(t testing.TB, others int) time.Duration {
		end := testkit.Crowd(t, others)
		defer end()
		var all []time.Duration
		for range 41 {
			cmd := bg(t, "exec", "--no-send", "--", "true")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			all = append(all, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	testkit.Retry(t, func(t testing.TB) {
		few, many := cost(t, 100), cost(t, 3000)
		ratio := float64(many) / float64(few)
		t.Logf("beside 3000 processes %.2f times the CPU time of beside 100 (%v)", ratio, few)
		if ratio > 1.2 || ratio < 1/1.2 {
			t.Errorf("%.2f times", ratio)
		}
	})
}
