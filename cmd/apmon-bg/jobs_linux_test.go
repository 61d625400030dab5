package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
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
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestAgentReportsJobs(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	one, end := testkit.Sleeper(t)
	two, _ := testkit.Sleeper(t)
	p := start(t, nil, "-d", recv.Addr(), "--interval", "24h", "--no-host", "--host-group", "Site", "--benchmark", "hs23=15",
		"--job", fmt.Sprintf("%d,%s,C,N,with comma", one, t.TempDir()), "--job", fmt.Sprint(two), "--job-cluster", "D",
		"--pidfile", filepath.Join(t.TempDir(), "pid"))
	testkit.Eventually(t, "an agent that follows jobs", func() bool { return followsJobs(p.Process.Pid) })
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
	gone, end := testkit.Sleeper(t)
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

// newTestWatcher makes a watcher with a tap and without a destination.
func newTestWatcher(t *testing.T, flags *jobFlags) (*watcher, func() []*xdr.Datagram, *bytes.Buffer) {
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
	}), apmon.Options{AdjustSource: func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := flags.check(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	flags.given.node = "host.example"
	f := newWatcher(flags, c, slog.New(slog.NewTextHandler(&log, nil)), newLatest[[]conf.Setting]())
	return f, func() []*xdr.Datagram {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}, &log
}

// A service is in every report, whether it runs or not. It consists of all processes that
// match.
func TestServiceIsReported(t *testing.T) {
	t.Parallel()
	word := fmt.Sprintf("service-%d", os.Getpid())
	pidfile := filepath.Join(t.TempDir(), "pid")
	pid, endPID := testkit.Sleeper(t)
	var flags jobFlags
	for _, s := range []string{"web=~" + word + "$", "db=" + pidfile, "one=" + fmt.Sprint(pid), "none=~^/no/such/" + word} {
		if err := flags.addService(s); err != nil {
			t.Fatal(err)
		}
	}
	f, seen, _ := newTestWatcher(t, &flags)
	if err := f.begin(); err != nil {
		t.Fatal(err)
	}
	from := 0
	// report reports until the services have the wanted values of up, restarts and
	// processes: a sample may be 500 ms old.
	report := func(what string, want map[string][3]float64) {
		t.Helper()
		var got map[string][3]float64
		for deadline := time.Now().Add(testkit.Patience); !maps.Equal(got, want); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: up, restarts and processes are %v, want %v", what, got, want)
			}
			if err := f.client.Report(t.Context(), apmon.ReportNow); err != nil {
				t.Fatal(err)
			}
			got = map[string][3]float64{}
			all := seen()
			for _, d := range all[from:] {
				if d.Node != "host.example" || !has(d, "up") || !has(d, "restarts") {
					t.Fatalf("%s: node %q, %v", what, d.Node, d.Params)
				}
				v := [3]float64{}
				for _, p := range d.Params {
					if i := slices.Index([]string{"up", "restarts", "processes"}, p.Name); i >= 0 {
						v[i] = p.Float()
					}
				}
				got[strings.TrimSuffix(d.Cluster, "_Services")] = v
			}
			from = len(all)
		}
	}
	none := [3]float64{}
	// A process started with the same argument is not part of the service.
	testkit.Sleeper(t, "--service", "web=~"+word+"$")
	report("before", map[string][3]float64{"web": none, "db": none, "one": {1, 0, 1}, "none": none})
	first, end1 := testkit.Sleeper(t, word)
	if err := os.WriteFile(pidfile, fmt.Appendf(nil, "%d\nmore\n", first), 0o600); err != nil {
		t.Fatal(err)
	}
	report("started", map[string][3]float64{"web": {1, 0, 1}, "db": {1, 0, 1}, "one": {1, 0, 1}, "none": none})
	_, end2 := testkit.Sleeper(t, word)
	_, end3 := testkit.Sleeper(t, word)
	report("three", map[string][3]float64{"web": {1, 0, 3}, "db": {1, 0, 1}, "one": {1, 0, 1}, "none": none})
	end1()
	endPID()
	report("one has ended", map[string][3]float64{"web": {1, 0, 2}, "db": none, "one": none, "none": none})
	end2()
	end3()
	report("all have ended", map[string][3]float64{"web": none, "db": none, "one": none, "none": none})
	again, _ := testkit.Sleeper(t, word)
	if err := os.WriteFile(pidfile, fmt.Appendf(nil, "%d\n", again), 0o600); err != nil {
		t.Fatal(err)
	}
	report("again", map[string][3]float64{"web": {1, 1, 1}, "db": {1, 1, 1}, "one": none, "none": none})
}

// The agent reports a service that never ran with --once, and the end of a service at
// once.
func TestAgentReportsServices(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	word := fmt.Sprintf("agents-%d", os.Getpid())
	is := func(cluster string, up float64) func(*xdr.Datagram) bool {
		return func(d *xdr.Datagram) bool {
			return d.Cluster == cluster && slices.ContainsFunc(d.Params, func(p xdr.Param) bool { return p.Name == "up" && p.Float() == up })
		}
	}
	p := start(t, nil, "-d", recv.Addr(), "--no-host", "--once", "--service", "never=~^/no/such/"+word)
	p.exits(0)
	recv.WaitFor(is("never_Services", 0))
	_, end := testkit.Sleeper(t, word)
	p = start(t, nil, "-d", recv.Addr(), "--no-host", "--interval", "1s", "--service", "web=~"+word+"$")
	recv.WaitFor(is("web_Services", 1))
	end()
	recv.WaitFor(is("web_Services", 0))
	p.signal(os.Interrupt)
	p.exits(0)
	p.says("service is up")
	p.says("service is down")
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
	flags := jobFlags{node: "slot {2} of {1}", given: names{jobCluster: "Slots"}}
	if err := flags.addGlob(filepath.Join(dir, "site_*/slot*")); err != nil {
		t.Fatal(err)
	}
	f, seen, _ := newTestWatcher(t, &flags)
	make("site_A/slot1")
	make("site_A/slot2")
	make("site_A/other")
	if err := os.Mkdir(filepath.Join(dir, "site_A/slot3"), 0o700); err != nil { // no cgroup
		t.Fatal(err)
	}
	if err := f.begin(); err != nil {
		t.Fatal(err)
	}
	f.find(t.Context())
	if n := len(f.client.Stats().Reports); n != 2 {
		t.Fatalf("%d jobs, want 2", n)
	}
	if err := os.RemoveAll(filepath.Join(dir, "site_A/slot1")); err != nil {
		t.Fatal(err)
	}
	f.find(t.Context())
	testkit.Eventually(t, "a last report of slot 1", func() bool {
		return slices.ContainsFunc(seen(), func(d *xdr.Datagram) bool { return d.Cluster == "Slots" && d.Node == "slot 1 of A" })
	})
	testkit.Eventually(t, "one job left", func() bool { return len(f.client.Stats().Reports) == 1 })
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
			t.Errorf("--benchmark %q is accepted", s)
		}
	}
	for _, s := range []string{"/x[", "a["} {
		if f.addGlob(s) == nil {
			t.Errorf("--job-cgroup %q is accepted", s)
		}
	}
	f = jobFlags{node: "{1}"}
	if f.check() == nil {
		t.Error("--job-node without --job-cgroup is accepted")
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
			t.Errorf("%s and %s: path.Match returns %v, %v; the expression is %s", pattern, path, ok, err, g.expr)
		}
	}
}
