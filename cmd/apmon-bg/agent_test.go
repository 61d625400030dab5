//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// running is a process of apmon-bg.
type running struct {
	*exec.Cmd
	t      *testing.T
	stdout bytes.Buffer // valid when the process has ended
	stderr testkit.Log
	ended  chan struct{}
}

// bg is a call of apmon-bg: this test binary, which TestMain lets be that.
func bg(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = name
	return cmd
}

// fullPipe returns the write end of a full pipe that is not read.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	fd := int(w.Fd()) // from here on it blocks
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = syscall.Write(fd, make([]byte, 4096))
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts apmon-bg.
func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	return startWith(t, nil, env, args...)
}

// startWith starts apmon-bg with a standard input, nil for none.
func startWith(t *testing.T, stdin *os.File, env []string, args ...string) *running {
	t.Helper()
	p := &running{Cmd: bg(t, args...), t: t, ended: make(chan struct{})}
	p.Env = append([]string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}, env...)
	if stdin != nil {
		p.Stdin = stdin
	}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%v\n%s", args, p.stderr.String())
		}
	})
	return p
}

const patience = testkit.Patience

// says waits until standard error contains a text.
func (p *running) says(text string) {
	p.t.Helper()
	testkit.Eventually(p.t, fmt.Sprintf("standard error with %q", text), func() bool { return p.stderr.Count(text) > 0 })
}

func (p *running) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end.
func (p *running) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(testkit.Patience):
		p.t.Fatal("does not end")
	}
}

// exits waits for the end and checks the exit code.
func (p *running) exits(code int) {
	p.t.Helper()
	p.wait()
	if got := p.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d", got, code)
	}
}

// exitCode runs a command, kills it if it does not end, and returns its exit code: -1
// after a signal.
func exitCode(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(testkit.Patience, func() { cmd.Process.Kill() }).Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// must fails the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// silentServer accepts connections and never answers.
func silentServer(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func has(d *xdr.Datagram, name string) bool {
	for _, p := range d.Params {
		if p.Name == name {
			return true
		}
	}
	return false
}

// reports returns a condition for apmontest: the nth datagram with a parameter, or a
// later one.
func reports(n int, cluster, param string) func(*xdr.Datagram) bool {
	return func(d *xdr.Datagram) bool {
		return (cluster == "" || d.Cluster == cluster) && int(d.Seq) >= n && has(d, param)
	}
}

func skipUnlessSampled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("names are those of Linux")
	}
}

func TestAgentReports(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	recv := apmontest.New(t)
	p := start(t, nil, "-d", recv.Addr(), "--interval", "1", "-c", "My_Nodes", "-n", "me.example")
	recv.WaitFor(reports(4, "My_Nodes", "load1"))
	recv.WaitFor(reports(1, "My_Nodes", "cpu_idle"))
	recv.WaitFor(reports(1, "My_Nodes", "kernel_version"))
	recv.WaitFor(reports(1, "My_Nodes", "apmon_sample_ms"))
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// The interval is long, so the only report is the last one.
func TestAgentSendsLastReport(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		recv := apmontest.New(t)
		p := start(t, nil, "-d", recv.Addr(), "-f", filepath.Join(t.TempDir(), "none"), "--interval", "24h", "--host-group", "Site")
		p.says("not loaded") // it runs
		p.signal(sig)
		began := time.Now()
		p.exits(0)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("ended after %v", took)
		}
		// The signal may arrive before the first report.
		if len(recv.Datagrams()) > 0 {
			recv.WaitFor(reports(1, "Site_Nodes", "load1"))
		}
	}
}

// No call that hangs delays the end of the agent.
func TestAgentEndsInTime(t *testing.T) {
	t.Parallel()
	l := silentServer(t)
	p := start(t, nil, "-d", "no-such-host.invalid", "-f", "http://"+l.Addr().String()+"/conf", "--interval", "1s")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.exits(0)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ended after %v", took)
	}
}

func TestAgentFollowsItsConfiguration(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	a, b := apmontest.New(t), apmontest.New(t)
	file := filepath.Join(t.TempDir(), "f.conf")
	p := start(t, []string{"APMON_DEBUG_LEVEL=INFO"}, "-f", file)
	p.says("no usable destination yet")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
	}
	write(a.Addr() + "\nxApMon_sys_interval = 1\n")
	a.WaitFor(reports(1, "ApMon_SysMon", "load1"))
	write(b.Addr() + "\nxApMon_sys_interval = 1\nxApMon_sys_load1 = off\n")
	b.WaitFor(reports(1, "ApMon_SysMon", "load5"))
	for _, d := range b.Datagrams() {
		if has(d, "load1") {
			t.Error("load1 is off, and was sent")
		}
	}
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

func TestAgentLogsStatistics(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	p := start(t, []string{"APMON_DEBUG_LEVEL=ERROR"}, "-d", recv.Addr()+" hunter2", "--interval", "1")
	recv.Wait(1) // it handles signals now
	p.signal(syscall.SIGUSR1)
	p.says("msg=statistics")
	p.says("msg=destination name=" + recv.Addr())
	p.signal(syscall.SIGTERM)
	p.exits(0)
	if strings.Contains(p.stderr.String(), "hunter2") {
		t.Error("a password is in the log")
	}
}

func TestAgentIsAService(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	socket, notified := commandtest.Manager(t)
	p := start(t, []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"}, "-d", recv.Addr())
	notified("READY=1")
	notified("WATCHDOG=1")
	notified("STATUS=1 of 1 destinations resolved, 0 datagrams sent, 0 not sent")
	p.signal(syscall.SIGHUP)
	notified("RELOADING=1")
	notified("READY=1")
	p.signal(syscall.SIGTERM)
	notified("STOPPING=1")
	p.exits(0)
}

func TestOnce(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	recv := apmontest.New(t)
	p := start(t, nil, "-d", recv.Addr(), "--once", "-c", "C")
	p.exits(0)
	recv.WaitFor(reports(1, "C", "interrupts_R"))
	recv.WaitFor(reports(1, "C", "kernel_version"))

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.LocalAddr().String()
	conn.Close()
	p = start(t, nil, "-d", closed, "--once")
	p.exits(69)
	p = start(t, nil, "-d", "no-such-host.invalid", "--once")
	p.exits(68)
	p = start(t, nil, "-f", filepath.Join(t.TempDir(), "none"), "--once")
	p.exits(78)
}

func TestPrint(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	type report struct {
		Cluster, Node string
		Params        []struct{ Name string }
	}
	parse := func(out string) (all []report) {
		for line := range strings.Lines(out) {
			var r report
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			all = append(all, r)
		}
		return all
	}
	recv, other := apmontest.New(t), apmontest.New(t)
	file := filepath.Join(t.TempDir(), "f.conf")
	if err := os.WriteFile(file, []byte(other.Addr()+"\nxApMon_sys_load1 = off\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, nil, "--once", "--print")
	p.exits(0)
	if got := parse(p.stdout.String()); len(got) == 0 || got[0].Cluster != "ApMon_SysMon" || len(got[0].Params) == 0 || got[0].Params[0].Name != "load1" {
		t.Errorf("printed %.300s", p.stdout.String())
	}

	// A file only selects the parameters; the reports also go to -d.
	p = start(t, nil, "--once", "--print", "-f", file, "-d", recv.Addr()+" secret", "-n", "N")
	p.exits(0)
	loads := 0
	for _, r := range parse(p.stdout.String()) {
		if r.Node != "N" {
			t.Errorf("node %q", r.Node)
		}
		for _, p := range r.Params {
			if p.Name == "load1" {
				loads++
			}
		}
	}
	if loads != 1 { // -d has its own options, the defaults
		t.Errorf("load1 printed %d times, want 1", loads)
	}
	if strings.Contains(p.stdout.String(), "secret") {
		t.Error("a password was printed")
	}
	recv.WaitFor(reports(1, "", "load1"))
	if n := len(other.Datagrams()); n > 0 {
		t.Errorf("%d datagrams were sent to the file's destination", n)
	}
}

func TestPrintToWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	defer full.Close()
	read, closed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	read.Close()
	for _, tt := range []struct {
		to   *os.File
		code int
	}{{full, 74}, {closed, 0}} {
		for _, args := range [][]string{{"--print", "--once"}, {"--print", "--interval", "1"}} {
			cmd := bg(t, args...)
			cmd.Stdout = tt.to
			if code := exitCode(t, cmd); code != tt.code {
				t.Errorf("%v to %s: exit code %d, want %d", args, tt.to.Name(), code, tt.code)
			}
		}
	}
}

// An output that is open but never read does not block the agent.
func TestAgentEndsThoughItsOutputIsStuck(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	for _, which := range []string{"stdout", "stderr"} {
		w := fullPipe(t)
		cmd := bg(t, "--print", "--interval", "1", "-d", recv.Addr(), "-f", "/nonexistent/file")
		if which == "stdout" {
			cmd.Stdout = w
		} else {
			cmd.Stderr = w
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if which == "stdout" {
			recv.Wait(1) // it runs, and is stuck with the next report
		} else {
			testkit.Eventually(t, "a write to standard error that hangs", func() bool { return stuckInPipe(t, cmd.Process.Pid) })
		}
		began := time.Now()
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if took := time.Since(began); err != nil || took > 5*time.Second { // 1.9 s on an idle machine
				t.Errorf("%s is stuck: ended after %v, %v", which, took, err)
			}
		case <-time.After(testkit.Patience):
			cmd.Process.Kill()
			t.Fatalf("%s is stuck: it does not end", which)
		}
	}
}

// stuckInPipe reports whether a process waits for space in a pipe, as the agent does when
// it writes its log.
func stuckInPipe(t *testing.T, pid int) bool {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to check where a process waits")
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	for _, task := range tasks {
		if b, _ := os.ReadFile(task); strings.Contains(string(b), "pipe_write") {
			return true
		}
	}
	return len(tasks) == 0
}

// A reload requested during a reload reads changes that were written in between.
func TestReloadDuringReload(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	l := silentServer(t)
	a, b := apmontest.New(t), apmontest.New(t)
	file := filepath.Join(t.TempDir(), "f.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a.Addr() + "\nxApMon_sys_interval = 1\n")
	p := start(t, nil, "-f", file, "-f", "http://"+l.Addr().String()+"/conf")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	a.WaitFor(reports(1, "", "load1"))
	p.signal(syscall.SIGHUP)
	conn, err = l.Accept() // the first reload waits for this
	if err != nil {
		t.Fatal(err)
	}
	write(b.Addr() + "\nxApMon_sys_interval = 1\n")
	p.signal(syscall.SIGHUP)
	conn.Close()
	b.WaitFor(reports(1, "", "load1"))
	p.says("not all configurations could be reloaded")
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

func TestPidfile(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	file := filepath.Join(t.TempDir(), "pid")
	up := func(args ...string) *running {
		t.Helper()
		socket, notified := commandtest.Manager(t)
		p := start(t, []string{"NOTIFY_SOCKET=" + socket}, append([]string{"-d", recv.Addr(), "--pidfile", file}, args...)...)
		notified("READY=1")
		return p
	}
	first := up()
	if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(first.Process.Pid) {
		t.Errorf("pid file holds %q (%v), want %d", b, err, first.Process.Pid)
	}
	second := start(t, nil, "-d", recv.Addr(), "--pidfile", file)
	second.exits(69)
	second.says("held by process " + strconv.Itoa(first.Process.Pid))

	third := up("--replace")
	first.exits(0)
	// A killed process leaves its pid in the file, which has no effect.
	third.signal(syscall.SIGKILL)
	<-third.ended
	fourth := up()
	start(t, nil, "--pidfile", file, "--stop").exits(0)
	fourth.exits(0)
	p := start(t, nil, "--pidfile", file, "--stop")
	p.exits(0)
	p.says("no process holds it")
	start(t, nil, "--pidfile", file+".none", "--stop").exits(0)

	// Of many started at once exactly one remains, and it holds the file.
	var all []*running
	for range 5 {
		all = append(all, start(t, nil, "-d", recv.Addr(), "--pidfile", file, "--replace"))
	}
	var left *running
	testkit.Eventually(t, "one process that holds the pid file", func() bool {
		left = nil
		n := 0
		for _, p := range all {
			select {
			case <-p.ended:
			default:
				left, n = p, n+1
			}
		}
		b, _ := os.ReadFile(file)
		return n == 1 && strings.TrimSpace(string(b)) == strconv.Itoa(left.Process.Pid)
	})
	start(t, nil, "--pidfile", file, "--stop").exits(0)
	for _, p := range all {
		p.exits(0)
	}
}

// At the start the log lists destinations, reports and intervals. It has times unless
// systemd adds them.
func TestAgentLogsItsStart(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	timed := regexp.MustCompile(`(?m)^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S* cmd=apmon-bg level=INFO msg="monitoring started" version=`)
	for _, env := range []string{"", "JOURNAL_STREAM=8:12345", "INVOCATION_ID=0123"} {
		p := start(t, []string{"APMON_DEBUG_LEVEL=DEBUG", env}[:1+min(len(env), 1)], "-d", recv.Addr(), "--interval", "1s", "--service", "web=~^/no/such/service")
		p.says("monitoring started")
		p.says("msg=source name=-d destinations=1")
		p.says("msg=destination name=" + recv.Addr() + " address=" + recv.Addr())
		p.says(`msg=reports of="service web_Services" every=1s first_in=`)
		p.says(`msg="report made" source="service web_Services"`)
		p.signal(os.Interrupt)
		p.exits(0)
		if got := timed.MatchString(p.stderr.String()); got != (env == "") {
			t.Errorf("%q: times in the log: %v\n%s", env, got, p.stderr.String())
		}
	}
}

func TestPrintClaimsNoDestination(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "--once", "--print", "--no-host", "--service", "web=~^/no/such/service")
	p.exits(0)
	if got := p.stderr.String(); strings.Contains(got, "this host") {
		t.Errorf("it logs that it sends: %s", got)
	}
}

// All users may read the pid file, and a lock for reading has no effect. The lock of an
// earlier version, on the file itself, is respected.
func TestPidfileIsReadable(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	lock := func(file string, how int16) {
		t.Helper()
		// Do not use os.ReadFile from here on: closing the file would unlock it.
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: how}); err != nil {
			t.Fatal(err)
		}
	}
	file, old := filepath.Join(dir, "pid"), filepath.Join(dir, "old")
	lock(file, syscall.F_RDLCK)
	socket, notified := commandtest.Manager(t)
	p := start(t, []string{"NOTIFY_SOCKET=" + socket}, "-d", recv.Addr(), "--pidfile", file)
	notified("READY=1")
	for name, want := range map[string]os.FileMode{file: 0o644, file + ".lock": 0o600} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, st, err, want)
		}
	}
	second := start(t, nil, "-d", recv.Addr(), "--pidfile", file)
	second.exits(69)
	second.says("held by process " + strconv.Itoa(p.Process.Pid))
	start(t, nil, "--pidfile", file, "--stop").exits(0)
	p.exits(0)

	lock(old, syscall.F_WRLCK)
	p = start(t, nil, "-d", recv.Addr(), "--pidfile", old)
	p.exits(69)
	p.says("held by process " + strconv.Itoa(os.Getpid()))
}

// Further interrupts do not affect the last report.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	socket, notified := commandtest.Manager(t)
	// On a busy machine the last report may take longer than the agent waits for it.
	for range 10 {
		p := start(t, []string{"NOTIFY_SOCKET=" + socket}, "-d", recv.Addr(), "--interval", "24h")
		notified("READY=1")
		p.signal(os.Interrupt)
		for range 4 { // while it reports, which takes some ms
			time.Sleep(time.Millisecond)
			_ = p.Process.Signal(os.Interrupt) // it may have ended
		}
		p.exits(0)
		late := strings.Contains(p.stderr.String(), "last report not sent")
		if !late {
			recv.WaitFor(func(d *xdr.Datagram) bool { return has(d, "load1") })
			return
		}
	}
	t.Error("no last report in ten runs")
}

func TestPidfileIsNoTrap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(precious, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{link, fifo, dir, filepath.Join(dir, "none", "pid"), "/dev/null"} {
		p := start(t, nil, "-d", "127.0.0.1:9", "--pidfile", file)
		p.exits(74)
		p.says(file)
	}
	if b, _ := os.ReadFile(precious); string(b) != "keep" {
		t.Errorf("the target of the link holds %q", b)
	}
}
