package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
)

// process is a process of apmon-recv of its own, with one socket.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  testkit.Log // of standard error
	addr string
	url  string // of /metrics, if it has --http
}

// startProcess starts apmon-recv.
func startProcess(t testing.TB, args ...string) *process {
	t.Helper()
	return startProcessIn(t, nil, args...)
}

// startProcessIn starts apmon-recv with more variables in its environment.
func startProcessIn(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t}
	// The test program is apmon-recv under this name.
	p.cmd = &exec.Cmd{Path: exe, Args: append([]string{"apmon-recv", "--listen", "127.0.0.1:0", "--sockets", "1"}, args...), Env: append(os.Environ(), env...), Stderr: &p.log}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.addr = p.logged(`listening on (\S+)`)
	if strings.Contains(strings.Join(args, " "), "--http") {
		p.url = p.logged(`metrics at (\S+)`)
	}
	return p
}

// logged waits for a line of the log and returns the group of the pattern.
func (p *process) logged(pattern string) (group string) {
	p.t.Helper()
	testkit.Eventually(p.t, pattern, func() bool {
		m := regexp.MustCompile(pattern).FindStringSubmatch(p.log.String())
		if m != nil {
			group = m[1]
		}
		return m != nil
	})
	return group
}

// value returns the value of one of our own metrics on a page of /metrics, -1 if it is not there.
func value(page, metric string) int {
	m := regexp.MustCompile(`(?m)^apmon_recv_` + regexp.QuoteMeta(metric) + ` (\S+)$`).FindStringSubmatch(page)
	if m == nil {
		return -1
	}
	v, _ := strconv.ParseFloat(m[1], 64)
	return int(v)
}

// cpu returns the CPU time of the process so far.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// end ends the process as a user does.
func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v: %s", err, &p.log)
	}
}

func TestReceiverIsAService(t *testing.T) {
	t.Parallel()
	socket, notified := commandtest.Manager(t)
	p := startProcessIn(t, []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"}, "--config", write(t, t.TempDir(), "c.yaml", "format: json\n"))
	notified("READY=1")
	notified("WATCHDOG=1")
	notified("STATUS=0 datagrams received, 0 refused, 0 lost")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	notified("RELOADING=1")
	notified("READY=1")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	notified("STOPPING=1")
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
