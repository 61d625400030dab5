package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// limited returns a command of apmon-bg, started by a shell that sets limits first.
func limited(t *testing.T, exe, limits string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command("/bin/sh", append([]string{"-c", limits + ` && exec "$@"`, "sh", exe}, args...)...)
}

// linked returns a link to the test binary named apmon-bg.
func linked(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	link := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink(exe, link))
	return link
}

// named makes a copy of the test binary named apmon-bg that all users may execute.
func named(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "apmon-bg-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(exe)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, name), b, 0o755), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// With any limit of descriptors the job runs, and a job without monitoring is logged.
func TestExecFewDescriptors(t *testing.T) {
	t.Parallel()
	exe := named(t)
	recv := apmontest.New(t)
	for _, n := range []int{4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 28, 32, 40, 64} {
		node := fmt.Sprint("n", n)
		cmd := limited(t, exe, fmt.Sprint("ulimit -n ", n), "exec", "-d", recv.Addr(), "-n", node, "--", "sh", "-c", "ulimit -n; exit 9")
		var out, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 9 || out.String() != fmt.Sprintln(n) {
			t.Errorf("%d descriptors: exit code %d, %q\n%s", n, code, out.String(), stderr.String())
		}
		if n < 40 && strings.Count(stderr.String(), "\n") == 1 && strings.Contains(stderr.String(), "the job runs without monitoring") {
			continue
		}
		if stderr.Len() > 0 {
			t.Errorf("%d descriptors: %s", n, stderr.String())
		}
		recv.WaitFor(func(d *xdr.Datagram) bool { return d.Node == node && text(d, "status") == "ended" })
	}
	cmd := limited(t, exe, "ulimit -n 8", "exec", "--", "/no/such/command")
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 127 {
		t.Errorf("without a command: %v", cmd.ProcessState)
	}
}

// processes returns the shell command that limits processes; dash has another option for
// it.
func processes(n int) string { return fmt.Sprintf("{ ulimit -u %d 2>&- || ulimit -p %d; }", n, n) }

// freeUser returns a user without processes, since the limit counts all processes of a
// user. It skips the test if it cannot become another user.
func freeUser(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the limit counts all processes of a user; only the superuser can become another user")
	}
	users := map[int]bool{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil {
			users[int(st.Sys().(*syscall.Stat_t).Uid)] = true
		}
	}
	usersMu.Lock()
	defer usersMu.Unlock()
	for nextUser++; users[nextUser]; nextUser++ {
	}
	return &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: uint32(nextUser), Gid: uint32(nextUser)}}
}

var (
	usersMu  sync.Mutex
	nextUser = 1<<20 + os.Getpid()<<4
)

// A job that uses up all processes does not affect exec.
func TestExecManyProcesses(t *testing.T) {
	t.Parallel()
	freeUser(t)
	exe := named(t)
	recv := apmontest.New(t)
	var running sync.WaitGroup
	for i := range 6 {
		running.Go(func() {
			node := fmt.Sprint("job", i)
			// The outer shell does not fork after the inner one has failed to.
			cmd := limited(t, exe, processes(40), "exec", "-d", recv.Addr(), "-n", node, "--interval", "1s", "--kill-orphans", "--orphan-wait", "0s", "--",
				"sh", "-c", "(i=0; while [ $i -lt 100 ]; do sleep 1000 >&- 2>&- & i=$((i+1)); done) 2>/dev/null; echo full; read x; exit 7")
			cmd.SysProcAttr, cmd.Dir = freeUser(t), "/"
			if i%2 == 1 {
				cmd.Env = append(os.Environ(), "GOMAXPROCS=32")
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Error(err)
				return
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			var full [5]byte
			_, err = io.ReadFull(out, full[:])
			reports := func() (n int) {
				for _, d := range recv.Datagrams() {
					if d.Node == node && has(d, "cpu_time") {
						n++
					}
				}
				return n
			}
			for deadline, before := time.Now().Add(testkit.Patience), reports(); err == nil && reports() < before+2; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					err = errors.New("no reports")
				}
			}
			in.Close()
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); err != nil || code != 7 {
				t.Errorf("exit code %d, %v\n%s", code, err, stderr.String())
			}
		})
	}
	running.Wait()
}

// With too few processes and threads from the start, the job runs without monitoring.
func TestExecNoProcesses(t *testing.T) {
	t.Parallel()
	cred := freeUser(t)
	exe := named(t)
	alone := false
	for n := 8; n < 24; n += 3 {
		cmd := limited(t, exe, processes(n), "exec", "-d", "127.0.0.1:9", "--", "sh", "-c", "exit 6")
		cmd.SysProcAttr, cmd.Dir, cmd.Env = cred, "/", append(os.Environ(), "GOMAXPROCS=2")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 6 {
			t.Errorf("%d processes: exit code %d\n%s", n, code, stderr.String())
		}
		alone = alone || strings.Contains(stderr.String(), "the job runs without monitoring")
	}
	if !alone {
		t.Error("there was always room")
	}
}

// The work after the end of a job has a time limit as a whole.
func TestExecEndsInTime(t *testing.T) {
	t.Parallel()
	l := silentServer(t)
	for _, tt := range []struct {
		wait  string
		limit time.Duration
	}{{"", 2 * time.Second}, {"2500ms", 3 * time.Second}} {
		t.Run(tt.wait, func(t *testing.T) {
			t.Parallel()
			var took []time.Duration
			for range 5 {
				args := []string{"exec", "-f", "http://" + l.Addr().String() + "/conf", "--summary", filepath.Join(t.TempDir(), "summary")}
				if tt.wait != "" {
					args = append(args, "--orphan-wait", tt.wait)
				}
				p := start(t, nil, append(args, "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; date +%s%N; exit 4")...)
				p.exits(4)
				var orphan int
				var ended int64
				now := time.Now()
				if _, err := fmt.Sscan(p.stdout.String(), &orphan, &ended); err != nil {
					t.Fatal(err)
				}
				_ = syscall.Kill(orphan, syscall.SIGKILL)
				took = append(took, now.Sub(time.Unix(0, ended)))
				if slices.Min(took) <= tt.limit { // the machine may be busy
					return
				}
			}
			t.Errorf("took %v, more than %v", took, tt.limit)
		})
	}
}

// A standard error that is never read, even if the summary is written to it, does not
// extend the time after the end.
func TestExecEndsInTimeUnread(t *testing.T) {
	t.Parallel()
	l := silentServer(t)
	var took []time.Duration
	for range 5 {
		cmd := bg(t, "exec", "-f", "http://"+l.Addr().String()+"/conf", "--summary", "/dev/stderr", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; date +%s%N; exit 4")
		var stdout bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, fullPipe(t)
		_ = cmd.Run()
		now := time.Now()
		var orphan int
		var ended int64
		if _, err := fmt.Sscan(stdout.String(), &orphan, &ended); err != nil || cmd.ProcessState.ExitCode() != 4 {
			t.Fatal(err, cmd.ProcessState)
		}
		_ = syscall.Kill(orphan, syscall.SIGKILL)
		took = append(took, now.Sub(time.Unix(0, ended)))
		if slices.Min(took) <= 2*time.Second { // the machine may be busy
			return
		}
	}
	t.Errorf("took %v, more than 2 s", took)
}

// A job that is not monitored does not keep the files of an earlier one.
func TestExecNoRoomRemovesSummary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, series, precious, link := filepath.Join(dir, "old"), filepath.Join(dir, "series"), filepath.Join(dir, "precious"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(old, []byte("{}"), 0o600), os.WriteFile(series, nil, 0o600), os.WriteFile(precious, []byte("keep"), 0o600), os.Symlink(precious, link)); err != nil {
		t.Fatal(err)
	}
	exe := named(t)
	for _, file := range []string{old, link} {
		out, err := limited(t, exe, "ulimit -n 8", "exec", "--no-send", "--summary", file, "--series", series, "--", "sh", "-c", "exit 0").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("runs without monitoring")) {
			t.Fatalf("%v, said %q", err, out)
		}
	}
	for _, file := range []string{old, series} {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s of an earlier job still exists", filepath.Base(file))
		}
	}
	if b, err := os.ReadFile(link); string(b) != "keep" {
		t.Errorf("the link leads to %q, %v", b, err)
	}
}

// A cgroup is removed when its creator has ended.
func TestRemoveStale(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	self, ok := process.Stat(pid)
	if !ok {
		t.Fatal("no start time")
	}
	start := self.Start
	keep := []string{fmt.Sprintf(cgroupName, pid, start), "apmon-job-1234567", "other", fmt.Sprintf(cgroupName, ended.Process.Pid, 1) + "/of a job"}
	for _, dir := range append(keep, fmt.Sprintf(cgroupName, pid, start+1), fmt.Sprintf(cgroupName, ended.Process.Pid, 2)) {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(parent)
	for i := range keep {
		keep[i], _, _ = strings.Cut(keep[i], "/")
	}
	var left []string
	dirs, _ := os.ReadDir(parent)
	for _, dir := range dirs {
		left = append(left, dir.Name())
	}
	slices.Sort(keep)
	if !slices.Equal(left, keep) {
		t.Errorf("left %q, want %q", left, keep)
	}
}

// The next exec removes the cgroup of an orphan that has ended since.
func TestExecCgroupLeftBehind(t *testing.T) {
	t.Parallel()
	dir := testkit.Cgroup(t)
	exe := named(t)
	left := func() []string { dirs, _ := filepath.Glob(dir + "/apmon-job-*"); return dirs }
	run := func(script string) int {
		t.Helper()
		cmd := limited(t, exe, "echo $$ >"+dir+"/cgroup.procs", "exec", "-d", "127.0.0.1:9", "--orphan-wait", "0s", "--", "sh", "-c", script)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		return pid
	}
	orphan := run("sleep 1000 >&- 2>&- & echo $!")
	t.Cleanup(func() {
		_ = syscall.Kill(orphan, syscall.SIGKILL)
		testkit.Eventually(t, "an empty cgroup", func() bool {
			for _, d := range append(left(), dir) {
				_ = os.Remove(d)
			}
			_, err := os.Stat(dir)
			return err != nil
		})
	})
	one := left()
	if len(one) != 1 {
		t.Fatalf("with an orphan: %q", one)
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the orphan has left", func() bool { b, _ := os.ReadFile(one[0] + "/cgroup.procs"); return len(b) == 0 })
	run("true")
	if l := left(); len(l) != 0 {
		t.Errorf("still there: %q", l)
	}
}
