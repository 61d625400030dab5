package apmon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/xdr"
)

// child is a process that waits until it is released.
type child struct {
	*exec.Cmd
	in io.Closer
}

func startChild(t *testing.T) *child {
	t.Helper()
	c := &child{Cmd: exec.Command("/bin/sh", "-c", "read x; exit 3")}
	c.in = testkit.StartFed(t, c.Cmd)
	return c
}

func (c *child) end() {
	c.in.Close()
	_ = c.Wait()
}

func addJob(t *testing.T, c *Client, j Job) *MonitoredJob {
	t.Helper()
	mj, err := c.AddJob(j)
	if err != nil {
		t.Fatal(err)
	}
	return mj
}

// tapped makes a client that passes its datagrams to a channel and sends nothing.
func tapped(t *testing.T, opts ...Option) (*Client, <-chan *xdr.Datagram) {
	t.Helper()
	got := make(chan *xdr.Datagram, 10_000)
	n := &fakeNet{}
	if len(opts) == 0 {
		opts = []Option{noHost}
	}
	return client(t, config(t, here), append(append(n.options(), WithTap(func(b []byte) {
		d, err := xdr.Parse(bytes.Clone(b))
		if err != nil {
			t.Error(err)
		}
		got <- d
	})), opts...)...), got
}

// next returns the parameters of the next datagram by name.
func next(t *testing.T, got <-chan *xdr.Datagram) (*xdr.Datagram, map[string]*Param) {
	t.Helper()
	select {
	case d := <-got:
		params := map[string]*Param{}
		for i := range d.Params {
			params[d.Params[i].Name] = &d.Params[i]
		}
		return d, params
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was sent")
		return nil, nil
	}
}

func TestJobIsReported(t *testing.T) {
	t.Parallel()
	c, got := tapped(t)
	p := startChild(t)
	if err := c.SetBenchmark("db12", 12.5); err != nil {
		t.Fatal(err)
	}
	j := addJob(t, c, Job{PID: p.Process.Pid, WorkDir: t.TempDir(), Cluster: "MySite_Jobs", Node: "123456", NumCPUs: 2, Start: time.Now().Add(-100 * time.Second)})
	if err := j.Report(t.Context(), String("status", "started")); err != nil {
		t.Fatal(err)
	}
	d, params := next(t, got)
	equal(t, "cluster", d.Cluster, "MySite_Jobs")
	equal(t, "node", d.Node, "123456")
	for _, name := range []string{"cpu_time", "cpu_usage", "cpu_efficiency", "rss", "virtualmem", "processes", "threads", "open_files",
		"workdir_size", "disk_total", "disk_free", "disk_usage", "read_bytes", "cpu_db12"} {
		if params[name] == nil {
			t.Errorf("%s was not sent", name)
		}
	}
	equal(t, "status", params["status"].Text(), "started")
	equal(t, "processes", params["processes"].Float(), 1)
	if run := params["run_time"].Float(); run < 100 || run > 200 {
		t.Errorf("run_time %v, started 100 s ago", run)
	}
	equal(t, "run_db12", params["run_db12"].Float(), 12.5*params["run_time"].Float())
	for _, name := range []string{"pss", "exit_code", "cpu_hs23"} {
		if params[name] != nil {
			t.Errorf("%s was sent", name)
		}
	}
	s, err := j.Sample()
	if err != nil || !s.CPUTime.OK || s.Processes.V != 1 {
		t.Errorf("Sample: %+v, %v", s, err)
	}
	if err := j.End(t.Context(), JobExit{Code: 3}); err != nil {
		t.Fatal(err)
	}
	_, params = next(t, got)
	equal(t, "exit_code", params["exit_code"].Float(), 3)
	if params["max_rss"] == nil || params["CS_rate_voluntary"] == nil {
		t.Error("max_rss or CS_rate_voluntary was not sent in the last report")
	}
	equal(t, "jobs left", len(c.Stats().Reports), 0)
}

// A job that ends has a last report, even if it was short, and whether or not
// monitoring runs.
func TestJobEnds(t *testing.T) {
	t.Parallel()
	c, got := tapped(t)
	p := startChild(t)
	addJob(t, c, Job{PID: p.Process.Pid})
	p.end()
	d, params := next(t, got)
	equal(t, "cluster", d.Cluster, DefaultJobCluster)
	if params["run_time"] == nil || params["cpu_time"] == nil {
		t.Errorf("sent %+v", d)
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(c.Stats().Reports) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the job is still there")
		}
		time.Sleep(time.Millisecond)
	}
}

// The record of a job has all samples so far, and the denominators of the efficiencies.
func TestJobRecord(t *testing.T) {
	t.Parallel()
	c, _ := tapped(t)
	if err := c.SetBenchmark("db12", 12.5); err != nil {
		t.Fatal(err)
	}
	p := startChild(t)
	j := addJob(t, c, Job{PID: p.Process.Pid, Cluster: "C", Node: "N", NumCPUs: 2,
		Requested: jobrecord.Amounts{CPUs: jobrecord.Amount{Value: procinfo.Known(4), Source: "SLURM_NTASKS"}}})
	if r := j.Record(); r.Job.Cluster != "C" || r.CPU.Total.OK || len(r.Measured.Unknown) == 0 {
		t.Errorf("before any sample: %+v", r)
	}
	if _, err := j.Sample(); err != nil {
		t.Fatal(err)
	}
	r := j.Record()
	if r.Job.Node != "N" || r.Job.PID.V != float64(p.Process.Pid) || !r.CPU.Total.OK || r.Levels.RSS.Last.V <= 0 || r.Levels.Processes.Max.V != 1 || r.Job.ExitCode.OK || !r.Job.End.IsZero() {
		t.Errorf("while it runs: %+v", r)
	}
	if x := r.Resources.CPUs; x.Requested.V != 4 || x.RequestedSource != "SLURM_NTASKS" || x.Allocated.V != 2 || x.AllocatedSource != "NumCPUs" {
		t.Errorf("CPUs: %+v", x)
	}
	if r.Hardware.Kernel == "" || !r.Hardware.Memory.OK || r.Hardware.Benchmarks.DB12.V != 12.5 || r.Job.Host == "" {
		t.Errorf("hardware: %+v", r.Hardware)
	}
	if err := j.End(t.Context(), JobExit{Code: 3}); err != nil {
		t.Fatal(err)
	}
	if r := j.Record(); r.Job.ExitCode != procinfo.Known(3) || r.Levels.RSS.Last.V <= 0 {
		t.Errorf("after the end: %+v", r)
	}
}

func TestCloseReportsJobs(t *testing.T) {
	t.Parallel()
	c, got := tapped(t)
	p := startChild(t)
	j := addJob(t, c, Job{PID: p.Process.Pid, Node: "N"})
	c.Close()
	if d, _ := next(t, got); d.Node != "N" {
		t.Errorf("sent %+v", d)
	}
	if err := j.Report(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Report after Close: %v", err)
	}
	if _, err := c.AddJob(Job{PID: p.Process.Pid}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddJob after Close: %v", err)
	}
	j.Remove()
}

func TestJobParams(t *testing.T) {
	t.Parallel()
	c, got := tapped(t, Options{AdjustSource: func(o *conf.Options) {
		o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off
		o.Switches = map[string]conf.ParamSwitch{"job_rss": {On: false}, "job_threads": {On: false}}
	}})
	p := startChild(t)
	j := addJob(t, c, Job{PID: p.Process.Pid, Switches: map[string]bool{"pss": true, "job_total_threads": true, "io": false}})
	if err := j.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, params := next(t, got)
	for name, want := range map[string]bool{"rss": false, "pss": true, "threads": true, "rchar": false, "cpu_time": true, "workdir_size": false} {
		if (params[name] != nil) != want {
			t.Errorf("%s sent: %v, want %v", name, params[name] != nil, want)
		}
	}
}

func TestAddJobRefuses(t *testing.T) {
	t.Parallel()
	c, _ := tapped(t)
	p := startChild(t)
	pid := p.Process.Pid
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		job  Job
		want string
	}{
		{Job{}, "needs a node"},
		{Job{Node: "N"}, "process or a cgroup"},
		{Job{PID: gone.Process.Pid}, "process"},
		{Job{PID: -1}, "-1"},
		{Job{PID: pid, Cluster: " "}, "cluster"},
		{Job{PID: pid, Switches: map[string]bool{"nonsense": true}}, `"nonsense"`},
		{Job{PID: pid, Interval: time.Millisecond}, "interval"},
		{Job{PID: pid, NumCPUs: -1}, "CPUs"},
		{Job{Cgroup: "/nonexistent", Node: "N"}, "/nonexistent"},
	} {
		if _, err := c.AddJob(tt.job); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("AddJob(%+v): %v, want %q", tt.job, err, tt.want)
		}
	}
	for name, v := range map[string]float64{"db13": 1, "db12": 0, "hs23": -1} {
		if err := c.SetBenchmark(name, v); err == nil {
			t.Errorf("SetBenchmark(%q, %v) is accepted", name, v)
		}
	}
}

// Each source of configuration has its own intervals and switches for jobs.
func TestJobsOfSources(t *testing.T) {
	t.Parallel()
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.1\nxApMon_sys_monitoring = off\nxApMon_general_info = off\nxApMon_job_rss = off\n")
	w.set(u2, "10.0.0.2\nxApMon_sys_monitoring = off\nxApMon_general_info = off\nxApMon_job_monitoring = off\n")
	c := open(t, &n, &w, []string{u1, u2})
	p := startChild(t)
	j := addJob(t, c, Job{PID: p.Process.Pid, Cluster: "C"})
	if err := j.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	one := n.reports("10.0.0.1:8884", "C")
	if len(one) != 1 || has(one[0], "rss") || !has(one[0], "cpu_time") {
		t.Errorf("the first got %+v", one)
	}
	equal(t, "messages of the second", len(n.reports("10.0.0.2:8884", "C")), 0)

	w.set(u2, "10.0.0.2\nxApMon_sys_monitoring = off\nxApMon_general_info = off\n")
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	if two := n.reports("10.0.0.2:8884", "C"); len(two) != 1 || !has(two[0], "rss") {
		t.Errorf("after the reload the second got %+v", two)
	}
	equal(t, "messages of the first", len(n.reports("10.0.0.1:8884", "C")), 2)
}

func has(d *xdr.Datagram, name string) bool {
	for _, p := range d.Params {
		if p.Name == name {
			return true
		}
	}
	return false
}

func TestManyJobsAreSpread(t *testing.T) {
	t.Parallel()
	c, _ := tapped(t)
	for range 4 * jobsPerSecond {
		addJob(t, c, Job{PID: os.Getpid(), Node: "N", Interval: time.Hour})
	}
	slots := map[time.Duration]int{}
	for _, j := range c.jobs.list {
		for _, r := range j.reports {
			slots[r.task.Shift]++
		}
	}
	equal(t, "slots", len(slots), 4)
	for _, n := range slots {
		equal(t, "jobs in one", n, jobsPerSecond)
	}
}

// whole asserts that an accounting record has all parameters that the receiver
// requires.
func whole(t *testing.T, params map[string]*Param) {
	t.Helper()
	for _, name := range []string{"jobid", "start", "stop", "cpu_MHz", "utime", "stime", "virtualmem", "rss"} {
		if params[name] == nil {
			t.Errorf("%s was not sent", name)
		}
	}
	if len(params) != 8 {
		t.Errorf("sent %v", params)
	}
}

// A job that is not monitored is reported to the sources that want it.
func TestReportJob(t *testing.T) {
	t.Parallel()
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.1\nxApMon_sys_monitoring = off\nxApMon_general_info = off\nxApMon_job_run_time = off\n")
	w.set(u2, "10.0.0.2\nxApMon_sys_monitoring = off\nxApMon_general_info = off\nxApMon_job_monitoring = off\n")
	c := open(t, &n, &w, []string{u1, u2})
	s := procinfo.JobSample{RunTime: procinfo.Known(1), ExitCode: procinfo.Known(127)}
	if err := c.ReportJob(t.Context(), Job{Cluster: "C", Node: "N", Params: []Param{Int("run", 12)}}, s, String("status", "ended")); err != nil {
		t.Fatal(err)
	}
	one := n.reports("10.0.0.1:8884", "C")
	if len(one) != 1 || one[0].Node != "N" || !has(one[0], "exit_code") || !has(one[0], "run") || !has(one[0], "status") || has(one[0], "run_time") {
		t.Errorf("the first got %+v", one)
	}
	equal(t, "messages of the second", len(n.reports("10.0.0.2:8884", "C")), 0)
	if err := c.ReportJob(t.Context(), Job{Cluster: "C"}, s); err == nil || !strings.Contains(err.Error(), "node name") {
		t.Errorf("without a node: %v", err)
	}
}

// Sample reads the parameters that the configuration chooses.
func TestJobSampleFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip(err)
	}
	for _, pss := range []bool{false, true} {
		c, _ := tapped(t, Options{AdjustSource: func(o *conf.Options) {
			o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off
			o.Switches = map[string]conf.ParamSwitch{"job_pss": {On: pss}, "job_io": {On: false}}
		}})
		p := startChild(t)
		j := addJob(t, c, Job{PID: p.Process.Pid})
		s, err := j.Sample()
		if err != nil {
			t.Fatal(err)
		}
		if s.PSS.OK != pss || s.MaxPSS.OK != pss || s.RChar.OK || !s.RSS.OK {
			t.Errorf("job_pss %v, job_io off: pss %v, max_pss %v, rchar %v, rss %v", pss, s.PSS, s.MaxPSS, s.RChar, s.RSS)
		}
	}
}

func TestAccounting(t *testing.T) {
	t.Parallel()
	c, got := tapped(t)
	p := startChild(t)
	began := time.Now().Add(-time.Minute)
	j := addJob(t, c, Job{PID: p.Process.Pid, Node: "123", Start: began})
	if err := j.Account(t.Context(), Accounting{Group: "alice", User: "jane"}); err != nil {
		t.Fatal(err)
	}
	d, params := next(t, got)
	equal(t, "cluster", d.Cluster, "alice")
	equal(t, "node", d.Node, "#acc_jane")
	equal(t, "jobid", params["jobid"].Text(), "123")
	start, stop := params["start"].Float(), params["stop"].Float()
	if d := start - float64(began.UnixMilli())/1000; d < -1 || d > 1 {
		t.Errorf("start is off by %v s", d)
	}
	if stop < start+60 || stop > start+90 {
		t.Errorf("start %v, stop %v", start, stop)
	}
	whole(t, params)
	if params["rss"].Float() <= 0 || params["virtualmem"].Float() <= 0 {
		t.Errorf("rss %v, virtualmem %v", params["rss"].Float(), params["virtualmem"].Float())
	}
	// A record with unknown values.
	if err := c.SendAccounting(t.Context(), Accounting{Group: "g", User: "u", JobID: "j", Start: began, Stop: time.Now()}); err != nil {
		t.Fatal(err)
	}
	_, params = next(t, got)
	whole(t, params)
	for _, a := range []Accounting{
		{User: "u", JobID: "j", Start: began, Stop: began},
		{Group: "g", JobID: "j", Start: began, Stop: began},
		{Group: "g", User: "u", Start: began, Stop: began},
		{Group: "g", User: "u", JobID: "j", Stop: began},
		{Group: "g", User: "u", JobID: "j", Start: began, Stop: began.Add(-time.Second)},
	} {
		if err := c.SendAccounting(context.Background(), a); err == nil {
			t.Errorf("%+v is taken", a)
		}
	}
}

// Each job parameter of the table has a value in the reports of real jobs, or needs what this
// machine may not have.
func TestEveryJobParameter(t *testing.T) {
	t.Parallel()
	needs := map[string]string{
		"cgroup_mem":           "the controller memory",
		"cgroup_mem_peak":      "the controller memory, Linux 5.19",
		"cgroup_mem_anon":      "the controller memory",
		"cgroup_cpu_throttled": "the controller cpu",
		"cgroup_oom_kill":      "the controller memory",
		"cgroup_procs":         "a cgroup",
		"gpu_time":             "a GPU of a DRM driver; see TestGPU in jobtree",
		"gpu_mem":              "the same",
		"gpus":                 "the same",
	}
	c, got := tapped(t)
	for _, name := range []string{"ksi2k", "db12", "hep06", "hs23"} {
		if err := c.SetBenchmark(name, 2); err != nil {
			t.Fatal(err)
		}
	}
	switches := map[string]bool{}
	for _, m := range procinfo.Metrics() {
		if m.Category == "job" && m.OptIn {
			switches[strings.TrimPrefix(m.Option, "job_")] = true
		}
	}
	cgroup := jobCgroup(t)
	for i, exit := range []JobExit{{Code: 3, MaxRSS: 1}, {Signal: 9}} {
		p := startChild(t)
		job := Job{PID: p.Process.Pid, WorkDir: t.TempDir(), NumCPUs: 2, Switches: switches}
		if i == 1 {
			job.Service = &jobtree.Service{Match: func(pid int, _ []string) bool { return pid == p.Process.Pid }}
			job.PID, job.Node = 0, "service"
		}
		if i == 0 && cgroup != "" && os.WriteFile(cgroup+"/cgroup.procs", []byte(strconv.Itoa(p.Process.Pid)), 0) == nil {
			job.Cgroup = cgroup
		}
		j := addJob(t, c, job)
		for range 2 { // rates are since the report before
			if err := j.Report(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.End(t.Context(), exit); err != nil {
			t.Fatal(err)
		}
		p.end()
	}
	sent := map[string]bool{}
	for len(got) > 0 {
		_, params := next(t, got)
		for name := range params {
			sent[name] = true
		}
	}
	for _, m := range procinfo.Metrics() {
		switch reason := needs[m.Name]; {
		case m.Category != "job" || sent[m.Name]:
		case reason == "":
			t.Errorf("%s has no value", m.Name)
		default:
			t.Logf("%s has no value: it needs %s", m.Name, reason)
		}
		delete(needs, m.Name)
	}
	if len(needs) > 0 {
		t.Errorf("no parameters: %v", needs)
	}
}

// jobCgroup returns a cgroup that is removed at the end, after the processes that start from now
// on have ended; or none, if that is not possible.
func jobCgroup(t *testing.T) (dir string) {
	t.Run("cgroup", func(t *testing.T) { dir = testkit.Cgroup(t) }) // so that only this is skipped
	if dir != "" {
		t.Cleanup(func() {
			testkit.Eventually(t, "an empty cgroup", func() bool { return os.Remove(dir) == nil })
		})
	}
	return dir
}
