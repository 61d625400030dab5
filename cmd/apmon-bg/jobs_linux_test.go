package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// sleeper starts a process that does nothing until the returned function, which
// waits for its end, is called.
func sleeper(t *testing.T, args ...string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read x; exit 3", "sh"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end = func() { once.Do(func() { in.Close(); _ = cmd.Wait() }) }
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func TestAgentReportsJobs(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	one, end := sleeper(t)
	two, _ := sleeper(t)
	p := start(t, nil, "-d", recv.Addr(), "--interval", "24h", "--no-host", "--host-group", "Site", "--benchmark", "hs23=15",
		"--job", fmt.Sprintf("%d,%s,C,N,with comma", one, t.TempDir()), "--job", fmt.Sprint(two), "--job-cluster", "D",
		"--pidfile", filepath.Join(t.TempDir(), "pid"))
	deadline := time.Now().Add(patience)
	for !followsJobs(p.Process.Pid) {
		if time.Now().After(deadline) {
			t.Fatal("not up")
		}
		time.Sleep(time.Millisecond)
	}
	end()
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return d.Cluster == "C" && d.Node == "N,with comma" && has(d, "cpu_time") && has(d, "workdir_size") && has(d, "cpu_hs23")
	})
	p.signal(os.Interrupt)
	p.exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "D" && has(d, "cpu_time") })
	for _, d := range recv.Datagrams() {
		if has(d, "load1") {
			t.Error("the host was reported")
		}
	}
	gone, end := sleeper(t)
	end()
	p = start(t, nil, "-d", recv.Addr(), "--job", fmt.Sprint(gone))
	p.exits(66)
	p.says(fmt.Sprint(gone))
}

// followsJobs reports whether a process holds the descriptor of another, as it
// does once it follows a job.
func followsJobs(pid int) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.Contains(to, "pidfd") {
			return true
		}
	}
	return false
}

// finder makes a finder of jobs whose reports are seen, and sent to nobody.
func finder(t *testing.T, flags *jobFlags) (*jobFinder, func() []*xdr.Datagram, *bytes.Buffer) {
	t.Helper()
	var mu sync.Mutex
	var seen []*xdr.Datagram
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "127.0.0.1", Port: 9}}}, apmon.WithTap(func(b []byte) {
		d, err := xdr.Parse(bytes.Clone(b))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, d)
	}), apmon.WithMonitoring(func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := flags.check(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f := &jobFinder{jobFlags: flags, client: c, log: slog.New(slog.NewTextHandler(&log, nil)),
		fs: procinfo.DefaultFS(os.Getenv), host: "host.example", told: map[string]bool{}}
	return f, func() []*xdr.Datagram {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}, &log
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came to this: ", what)
		}
	}
}

func TestServiceIsFoundAgain(t *testing.T) {
	t.Parallel()
	word := fmt.Sprintf("service-%d", os.Getpid())
	pidfile := filepath.Join(t.TempDir(), "pid")
	var flags jobFlags
	for _, s := range []string{"web=~" + word + "$", "db=" + pidfile} {
		if err := flags.addService(s); err != nil {
			t.Fatal(err)
		}
	}
	f, seen, log := finder(t, &flags)
	f.find(t.Context())
	f.find(t.Context())
	if n := strings.Count(log.String(), "no process matches"); n != 1 {
		t.Errorf("told %d times that a service is not there", n)
	}
	// What was started with the same argument is not the service.
	sleeper(t, "--service", "web=~"+word+"$")
	pid, end := sleeper(t, word)
	if err := os.WriteFile(pidfile, fmt.Appendf(nil, "%d\nmore\n", pid), 0o600); err != nil {
		t.Fatal(err)
	}
	f.find(t.Context())
	if !slices.Equal(f.services[0].roots, []int{pid}) || !slices.Equal(f.services[1].roots, []int{pid}) {
		t.Fatalf("found %v and %v, want %d", f.services[0].roots, f.services[1].roots, pid)
	}
	end()
	eventually(t, "the last reports", func() bool { return f.services[0].job.Ended() && f.services[1].job.Ended() })
	clusters := map[string]bool{}
	for _, d := range seen() {
		clusters[d.Cluster] = true
		if d.Node != "host.example" {
			t.Errorf("node %q", d.Node)
		}
	}
	if !clusters["web_Services"] || !clusters["db_Services"] {
		t.Errorf("reported %v", clusters)
	}
	again, _ := sleeper(t, word)
	more, _ := sleeper(t, word)
	f.find(t.Context())
	slices.Sort(f.services[0].roots)
	if !slices.Equal(f.services[0].roots, []int{again, more}) {
		t.Errorf("found %v, want %d and %d", f.services[0].roots, again, more)
	}
}

// Workers that a service starts, and that match too, are of its job already.
func TestWorkersAreNoNewService(t *testing.T) {
	t.Parallel()
	word := fmt.Sprintf("workers-%d", os.Getpid())
	var flags jobFlags
	if err := flags.addService("web=~" + word); err != nil {
		t.Fatal(err)
	}
	f, _, _ := finder(t, &flags)
	cmd := exec.Command("/bin/sh", "-c", "while read x; do sh -c 'read y <&3' "+word+" 3<&0 & done; kill $!", word)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	f.find(t.Context())
	job := f.services[0].job
	if !slices.Equal(f.services[0].roots, []int{cmd.Process.Pid}) {
		t.Fatalf("found %v, want %d", f.services[0].roots, cmd.Process.Pid)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	if _, err := os.ReadFile(children); err != nil {
		t.Skip(err)
	}
	eventually(t, "a worker", func() bool { b, _ := os.ReadFile(children); return len(b) > 0 })
	f.find(t.Context())
	if f.services[0].job != job {
		t.Error("a worker made another job of the service")
	}
}

func TestPIDFilesAreNoTrap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, empty := filepath.Join(dir, "fifo"), filepath.Join(dir, "empty")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{fifo, empty, dir, "/dev/zero", "/proc/cpuinfo", filepath.Join(dir, "none")} {
		if pids, err := readPID(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, %v", file, pids, err)
		}
	}
}

func TestCgroupsComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	make := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "cgroup.procs"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := jobFlags{node: "slot {2} of {1}", cluster: "Slots"}
	if err := flags.addGlob(filepath.Join(dir, "site_*/slot*")); err != nil {
		t.Fatal(err)
	}
	f, seen, _ := finder(t, &flags)
	make("site_A/slot1")
	make("site_A/slot2")
	make("site_A/other")
	if err := os.Mkdir(filepath.Join(dir, "site_A/slot3"), 0o700); err != nil { // no cgroup
		t.Fatal(err)
	}
	f.find(t.Context())
	f.find(t.Context())
	if n := len(f.globs[0].jobs); n != 2 {
		t.Fatalf("%d jobs, want 2", n)
	}
	if err := os.RemoveAll(filepath.Join(dir, "site_A/slot1")); err != nil {
		t.Fatal(err)
	}
	f.find(t.Context())
	eventually(t, "a last report of slot 1", func() bool {
		return slices.ContainsFunc(seen(), func(d *xdr.Datagram) bool { return d.Cluster == "Slots" && d.Node == "slot 1 of A" })
	})
	eventually(t, "one job left", func() bool { return len(f.client.Stats().Reports) == 1 })
}

func TestJobFlagsRefuse(t *testing.T) {
	t.Parallel()
	var f jobFlags
	for _, s := range []string{"", "x", "-1", "0", "1x,/tmp"} {
		if f.addJob(s) == nil {
			t.Errorf("--job %q is taken", s)
		}
	}
	for _, s := range []string{"", "x", "=1", "x=", "x=0", "x=-3", "x=~(", " =1"} {
		if f.addService(s) == nil {
			t.Errorf("--service %q is taken", s)
		}
	}
	for _, s := range []string{"db12", "db12=x", "db13=1", "db12=0", "db12=NaN"} {
		if f.benchmarks.add(s) == nil {
			t.Errorf("--benchmark %q is taken", s)
		}
	}
	for _, s := range []string{"/x[", "a["} {
		if f.addGlob(s) == nil {
			t.Errorf("--job-cgroup %q is taken", s)
		}
	}
	f = jobFlags{node: "{1}"}
	if f.check() == nil {
		t.Error("--job-node without --job-cgroup is taken")
	}
	if err := f.addGlob("slurm/job_*"); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"{0}", "{2}", "{x}", "{}"} {
		f.node = node
		if f.check() == nil {
			t.Errorf("--job-node %q is taken", node)
		}
	}
}

func TestGlobMatchesAsPathsDo(t *testing.T) {
	t.Parallel()
	for pattern, path := range map[string]string{
		"/a/*/b?[c-e][^f]": "/a/x.y/bzdg", `/a\*(b)/*`: "/a*(b)/x", "slot*": "/sys/fs/cgroup/slot12",
	} {
		g, err := newCgroupGlob(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		ok, err := filepath.Match(g.pattern, path)
		if !ok || err != nil || !g.expr.MatchString(path) {
			t.Errorf("%s and %s: path says %v, %v; the expression %s", pattern, path, ok, err, g.expr)
		}
	}
}
