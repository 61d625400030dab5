package jobtree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// A fakeProc is a copy of /proc. Times are in clock ticks of 10 ms.
type fakeProc struct {
	t   *testing.T
	dir string
}

type fake struct {
	pid, ppid, session, start    int
	utime, stime, cutime, cstime uint64
	state, comm, ignored         string
	rchar, voluntary             uint64
}

func newFakeProc(t *testing.T) *fakeProc {
	f := &fakeProc{t, t.TempDir()}
	f.write("proc/uptime", "1000.00 100.00\n")
	f.write("proc/meminfo", "MemTotal:       1000000 kB\n")
	return f
}

func (f *fakeProc) write(name, content string) {
	f.t.Helper()
	name = filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeProc) put(procs ...fake) {
	f.t.Helper()
	for _, p := range procs {
		if p.state == "" {
			p.state = "S"
		}
		if p.comm == "" {
			p.comm = "a"
		}
		if p.ignored == "" {
			p.ignored = "0000000000000000"
		}
		dir := "proc/" + strconv.Itoa(p.pid) + "/"
		f.write(dir+"stat", fmt.Sprintf("%d (%s) %s %d %d %d 0 -1 4194560 10 %d 2 0 %d %d %d %d 20 0 1 0 %d 1048576 100 18446744073709551615 0 0 0 0 0 0 0 0\n",
			p.pid, p.comm, p.state, p.ppid, p.pid, p.session, p.cutime, p.utime, p.stime, p.cutime, p.cstime, p.start))
		memory := "VmHWM:\t     500 kB\nVmRSS:\t     460 kB\n" // more than in stat, as in current kernels
		if p.state == "Z" {
			memory = ""
		}
		f.write(dir+"status", fmt.Sprintf("Name:\t%s\n%sSigIgn:\t%s\nvoluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t3\n", p.comm, memory, p.ignored, p.voluntary))
		f.write(dir+"io", fmt.Sprintf("rchar: %d\nwchar: 2\nsyscr: 9\nread_bytes: 3\nwrite_bytes: 4\ncancelled_write_bytes: 77\n", p.rchar))
		f.write(dir+"fd/0", "")
		f.write(dir+"fd/12", "")
	}
}

func (f *fakeProc) kill(pids ...int) {
	f.t.Helper()
	for _, pid := range pids {
		if err := os.RemoveAll(filepath.Join(f.dir, "proc", strconv.Itoa(pid))); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fakeProc) jobs() *Set {
	s := New(procinfo.DirFS(f.dir), procinfo.NewProcesses(procinfo.DirFS(f.dir)))
	f.t.Cleanup(func() { s.Close() })
	return s
}

// A step changes the tree. Then the job has the given processes and ticks of CPU time.
type step struct {
	put       []fake
	kill      []int
	processes float64
	ticks     float64
	lower     bool
}

func TestJobTree(t *testing.T) {
	t.Parallel()
	root := fake{pid: 10, ppid: 1, session: 5, start: 1000, utime: 10}
	child := fake{pid: 20, ppid: 10, session: 5, start: 2000, utime: 100, stime: 50}
	rootAfter := func(c uint64) fake { r := root; r.cutime = c; return r }
	with := func(f fake, change func(*fake)) fake { change(&f); return f }
	for name, steps := range map[string][]step{
		"a child that is waited for": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{kill: []int{20}, put: []fake{rootAfter(155)}, processes: 1, ticks: 165},
			{processes: 1, ticks: 165},
		},
		"the parent's number rises with the next scan only": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{kill: []int{20}, processes: 1, ticks: 160},
			{put: []fake{rootAfter(155)}, processes: 1, ticks: 165},
		},
		"a child that nobody waits for": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{kill: []int{20}, processes: 1, ticks: 160},
			{processes: 1, ticks: 160, lower: true},
			// Children that are waited for later are added, except two ticks.
			{put: []fake{rootAfter(1000)}, processes: 1, ticks: 1158, lower: true},
		},
		"children never seen": {
			{put: []fake{root}, processes: 1, ticks: 10},
			{put: []fake{rootAfter(500)}, processes: 1, ticks: 510},
		},
		"a child seen and others not seen": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{kill: []int{20}, put: []fake{rootAfter(1000)}, processes: 1, ticks: 1010},
		},
		"an orphan": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{put: []fake{with(child, func(f *fake) { f.ppid = 1; f.utime = 200 })}, processes: 2, ticks: 260},
			{kill: []int{20}, processes: 1, ticks: 260, lower: true},
		},
		"an orphan seen as a zombie is known to the end": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{put: []fake{with(child, func(f *fake) { f.ppid = 1; f.state = "Z" })}, processes: 2, ticks: 160},
			{kill: []int{20}, processes: 1, ticks: 160},
		},
		"three generations end in one interval": {
			{put: []fake{root, child, {pid: 30, ppid: 20, start: 3000, utime: 1000}}, processes: 3, ticks: 1160},
			{kill: []int{20, 30}, put: []fake{rootAfter(1160)}, processes: 1, ticks: 1170},
			{processes: 1, ticks: 1170},
		},
		"the parent ends first, and another than its parent takes its child over": {
			{put: []fake{root, {pid: 15, ppid: 10, start: 1500}, with(child, func(f *fake) { f.ppid = 15 }), {pid: 30, ppid: 20, start: 3000, utime: 1000}},
				processes: 4, ticks: 1160},
			// 30 went to 10, which is a subreaper; 20 to 15.
			{kill: []int{20, 30}, put: []fake{rootAfter(1000), {pid: 15, ppid: 10, start: 1500, cutime: 150}}, processes: 2, ticks: 1160},
			{processes: 2, ticks: 1160},
		},
		"the root ends before its child": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{kill: []int{10}, put: []fake{with(child, func(f *fake) { f.ppid = 1 })}, processes: 1, ticks: 160, lower: true},
		},
		"a pid used again by a stranger": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{put: []fake{rootAfter(150), {pid: 20, ppid: 1, session: 7, start: 5000, utime: 9999}, {pid: 21, ppid: 20, session: 7, start: 5001, utime: 9999}},
				processes: 1, ticks: 160},
		},
		"a pid used again by a descendant": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{put: []fake{rootAfter(150), {pid: 20, ppid: 10, start: 5000, utime: 1}}, processes: 2, ticks: 161},
		},
		"a parent younger than its child is not its parent": {
			{put: []fake{root, child, {pid: 30, ppid: 20, start: 1500, utime: 9999}}, processes: 2, ticks: 160},
		},
		"a child with a lower pid than its parent": {
			{put: []fake{root, {pid: 9, ppid: 30, start: 4000, utime: 7}, {pid: 30, ppid: 8, start: 3500, utime: 2}, {pid: 8, ppid: 10, start: 3000, utime: 1}},
				processes: 4, ticks: 20},
		},
		"a circle": {
			{put: []fake{{pid: 10, ppid: 12, start: 1000, utime: 1}, {pid: 11, ppid: 10, start: 1000, utime: 10}, {pid: 12, ppid: 11, start: 1000, utime: 100},
				{pid: 13, ppid: 12, start: 1000, utime: 1000}, {pid: 14, ppid: 13, start: 1000, utime: 10000}}, processes: 5, ticks: 11111},
			{kill: []int{13, 14}, processes: 3, ticks: 11111},
			{kill: []int{10, 11, 12}, processes: 0, ticks: 11111},
		},
		"a session of the root": {
			{put: []fake{with(root, func(f *fake) { f.session = 10 }), with(child, func(f *fake) { f.session = 10 }),
				{pid: 40, ppid: 1, session: 10, start: 1100, utime: 5}, {pid: 41, ppid: 1, session: 11, start: 1100, utime: 5000}}, processes: 3, ticks: 165},
			// The number of a session is in use while a process is in it,
			{kill: []int{10}, put: []fake{with(child, func(f *fake) { f.session, f.ppid = 10, 1 }), {pid: 42, ppid: 1, session: 10, start: 6000, utime: 6}},
				processes: 3, ticks: 171, lower: true},
			// and is reused afterwards.
			{kill: []int{20, 40, 42}, put: []fake{{pid: 43, ppid: 1, session: 10, start: 7000, utime: 500}}, processes: 0, ticks: 171, lower: true},
		},
		"a name that looks like a stat file": {
			{put: []fake{with(root, func(f *fake) { f.comm = "a) R 1 (1 1 1" }), with(child, func(f *fake) { f.comm = ") R 1 (" })}, processes: 2, ticks: 160},
		},
		"numbers that go down": {
			{put: []fake{with(root, func(f *fake) { f.cutime = 50 }), child}, processes: 2, ticks: 210},
			{put: []fake{with(root, func(f *fake) { f.utime = 1 }), with(child, func(f *fake) { f.utime = 0 })}, processes: 2, ticks: 210},
		},
		"numbers that cannot be": {
			{put: []fake{root, child}, processes: 2, ticks: 160},
			{put: []fake{with(child, func(f *fake) { f.utime = 1 << 63 })}, processes: 2, ticks: 160},
			{put: []fake{with(child, func(f *fake) { f.utime = 200 })}, processes: 2, ticks: 260},
		},
		"SIGCHLD ignored": {
			{put: []fake{with(root, func(f *fake) { f.ignored = "0000000000011000" })}, processes: 1, ticks: 10, lower: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeProc(t)
			s := f.jobs()
			var j *Job
			for i, st := range steps {
				f.kill(st.kill...)
				f.put(st.put...)
				if j == nil {
					j = addJob(t, s, Options{PIDs: []int{10}})
				}
				got := sampleNow(t, j, nil)
				testkit.Near(t, fmt.Sprintf("step %d: CPU time", i), got.CPUTime, st.ticks/100, 1e-9)
				if got.Processes.OK || st.processes > 0 { // unknown once all have ended
					testkit.Near(t, fmt.Sprintf("step %d: processes", i), got.Processes, st.processes, 0)
				}
				if got.LowerBound != st.lower {
					t.Errorf("step %d: lower bound: %v", i, got.LowerBound)
				}
			}
		})
	}
}

func TestJobSampleValues(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 90000, utime: 300, stime: 100, rchar: 1000, voluntary: 70},
		fake{pid: 11, ppid: 10, session: 5, start: 95000, utime: 100, rchar: 50, voluntary: 30, state: "R"})
	s := f.jobs()
	now := time.Unix(1000000, 0)
	s.clock = func() time.Time { return now }
	j := addJob(t, s, Options{PIDs: []int{10, 10}, NumCPUs: 2})
	show := func(got procinfo.JobSample) string {
		got.Factors.DB12 = procinfo.Known(10)
		got.ExitCode = procinfo.Known(3)
		got.WorkDirMB = procinfo.Known(12)
		var b strings.Builder
		for _, p := range got.Append(nil, func(option string) (bool, string) { return true, "" }) {
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&b, "%s=%.6g ", p.Name, p.Float())
		}
		return b.String()
	}
	first, err := j.Sample(nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Rates(nil)
	want := "run_time=100 cpu_time=5 cpu_usage=5 cpu_efficiency=2.5 virtualmem=2048 rss=920 mem_usage=0.092 open_files=4 processes=2 threads=2 " +
		"page_faults_min=20 page_faults_maj=4 CS_voluntary_total=100 CS_nonvoluntary_total=6 read_bytes=6 write_bytes=8 rchar=1050 wchar=4 " +
		"workdir_size=12 cpu_db12=50 run_db12=1000 exit_code=3 max_rss=920 max_virtualmem=2048 max_open_files=4 max_processes=2 max_threads=2 "
	if got := show(first); got != want {
		t.Errorf("first sample\n got %s\nwant %s", got, want)
	}
	f.write("proc/uptime", "1010.00 100.00\n")
	f.put(fake{pid: 11, ppid: 10, session: 5, start: 95000, utime: 600, rchar: 50, voluntary: 80, state: "R"})
	now = now.Add(10 * time.Second)
	second, err := j.Sample(nil)
	if err != nil {
		t.Fatal(err)
	}
	second.Rates(&first)
	testkit.Near(t, "instant_cpu_usage", second.InstantCPUUsage, 50, 1e-9)
	testkit.Near(t, "CS_rate_voluntary", second.CSRateVoluntary, 5, 1e-9)
	testkit.Near(t, "CS_rate_nonvoluntary", second.CSRateNonvoluntary, 0, 1e-9)
	testkit.Near(t, "samples", second.Samples, 2, 0)
	testkit.Near(t, "ProcessesTotal", second.ProcessesTotal, 2, 0)
	again := second
	again.Rates(&second) // no time between
	if again.InstantCPUUsage.OK {
		t.Errorf("a rate over no time: %v", again.InstantCPUUsage)
	}
	// Opt-in.
	for _, p := range second.Append(nil, nil) {
		if strings.HasSuffix(p.Name, "pss") {
			t.Errorf("%s is sent", p.Name)
		}
	}
	var none procinfo.JobSample
	none.Rates(nil)
	if p := none.Append(nil, nil); len(p) > 0 {
		t.Errorf("from nothing: %v", p)
	}
}

// A process whose first thread has ended is a zombie with threads: its memory is with them.
func TestJobFirstThreadEnded(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 90000, utime: 300, state: "Z"})
	const zombie, thread = "10 (a) Z 1 10 5 0 -1 4194560 10 0 2 0 300 0 0 0 20 0 3 0 90000 0 0 18446744073709551615 0 0 0 0 0 0 0 0\n",
		"12 (a) R 1 10 5 0 -1 4194560 10 0 2 0 300 0 0 0 20 0 3 0 90001 2097152 100 18446744073709551615 0 0 0 0 0 0 0 0\n"
	f.write("proc/10/stat", zombie)
	f.write("proc/10/task/10/status", "Name:\ta\n")
	f.write("proc/10/task/11/stat", zombie)
	f.write("proc/10/task/11/status", "Name:\ta\n") // this one has ended, too
	f.write("proc/10/task/12/stat", thread)
	f.write("proc/10/task/12/status", "Name:\ta\nVmHWM:\t     900 kB\nVmRSS:\t     800 kB\nVmSwap:\t      70 kB\n")
	f.write("proc/10/task/12/smaps_rollup", "Pss:                 600 kB\nSwapPss:              50 kB\n")
	j := addJob(t, f.jobs(), Options{PIDs: []int{10}})
	got, err := j.Sample(func(string) (bool, string) { return true, "" })
	if err != nil || got.Ended {
		t.Fatalf("ended: %v, %v", got.Ended, err)
	}
	testkit.Near(t, "rss", got.RSS, 800, 0)
	testkit.Near(t, "max_rss", got.MaxRSS, 900, 0)
	testkit.Near(t, "swap", got.Swap, 70, 0)
	testkit.Near(t, "pss", got.PSS, 600, 0)
	testkit.Near(t, "virtualmem", got.VirtualMem, 2048, 0)
	testkit.Near(t, "threads", got.Threads, 3, 0)
}

// The last report of a job has no values that only living processes have, but their peaks.
// While an orphan is alive, it has them.
func TestJobThatHasEnded(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	root := fake{pid: 10, ppid: 1, session: 5, start: 90000, utime: 300}
	f.put(root, fake{pid: 11, ppid: 10, session: 5, start: 95000, utime: 100})
	j := addJob(t, f.jobs(), Options{PIDs: []int{10}})
	lacks := func(s procinfo.JobSample, names ...string) (without []string) {
		for _, name := range names {
			if !slices.ContainsFunc(s.Append(nil, nil), func(p xdr.Param) bool { return p.Name == name }) {
				without = append(without, name)
			}
		}
		return without
	}
	alive := []string{"rss", "virtualmem", "mem_usage", "open_files", "processes", "threads"}
	peaks := []string{"max_rss", "max_virtualmem", "max_open_files", "max_processes", "max_threads"}
	both := sampleNow(t, j, nil)
	if got := lacks(both, alive...); both.Ended || len(got) > 0 {
		t.Errorf("alive: ended %v, without %v", both.Ended, got)
	}
	if got := lacks(both, peaks...); len(got) < len(peaks) {
		t.Errorf("alive: peaks are reported, without %v", got)
	}
	root.state = "Z"
	f.put(root)
	if got := sampleNow(t, j, nil); got.Ended || len(lacks(got, alive...)) > 0 {
		t.Errorf("the child lives: ended %v, without %v", got.Ended, lacks(got, alive...))
	}
	f.kill(11)
	for _, gone := range []bool{false, true} {
		if gone {
			f.kill(10)
		}
		got := sampleNow(t, j, nil)
		if there := lacks(got, alive...); !got.Ended || len(there) < len(alive) {
			t.Errorf("root reaped: %v: ended %v, of %v reported without %v", gone, got.Ended, alive, there)
		}
		if without := lacks(got, append(peaks, "cpu_time", "run_time")...); len(without) > 0 {
			t.Errorf("root reaped: %v: without %v", gone, without)
		}
		testkit.Near(t, "max_rss", got.MaxRSS, 920, 0)
		testkit.Near(t, "max_virtualmem", got.MaxVirtualMem, 2048, 0)
		testkit.Near(t, "max_open_files", got.MaxOpenFiles, 4, 0)
		testkit.Near(t, "max_processes", got.MaxProcesses, 2, 0)
		testkit.Near(t, "max_threads", got.MaxThreads, 2, 0)
	}
}

// If a root is older than the job, CPU time of its earlier children does not count.
func TestJobStartedLaterThanItsRoot(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 1000, utime: 10, cutime: 5000, rchar: 100})
	s := f.jobs()
	j := addJob(t, s, Options{PIDs: []int{10}, Start: time.Now().Add(-20 * time.Second)})
	k := addJob(t, s, Options{PIDs: []int{10}})
	got := sampleNow(t, j, nil)
	testkit.Near(t, "cpu_time", got.CPUTime, .1, 1e-9)
	testkit.Near(t, "run_time", got.RunTime, 20, 1)
	testkit.Near(t, "rchar", got.RChar, 0, 0)
	got = sampleNow(t, k, nil)
	testkit.Near(t, "cpu_time of the whole", got.CPUTime, 50.1, 1e-9)
	testkit.Near(t, "run_time of the whole", got.RunTime, 990, 1e-6)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 1000, utime: 10, cutime: 5100, rchar: 150})
	got = sampleNow(t, j, nil)
	testkit.Near(t, "cpu_time", got.CPUTime, 1.1, 1e-9)
	testkit.Near(t, "rchar", got.RChar, 50, 0)
	// The next payload of the same pilot.
	l := addJob(t, s, Options{PIDs: []int{10}, Start: time.Now()})
	got = sampleNow(t, l, nil)
	testkit.Near(t, "cpu_time of the next", got.CPUTime, .1, 1e-9)
	testkit.Near(t, "rchar of the next", got.RChar, 0, 0)
}

// A pid that is reused may become a root before a scan has noticed the reuse.
func TestJobRootWithAPidUsedAgain(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, start: 1000, utime: 1}, fake{pid: 20, ppid: 10, start: 2000, utime: 10})
	s := f.jobs()
	j := addJob(t, s, Options{PIDs: []int{10}})
	testkit.Near(t, "before", sampleNow(t, j, nil).CPUTime, .11, 1e-9)
	f.put(fake{pid: 20, ppid: 1, start: 5000, utime: 100})
	k := addJob(t, s, Options{PIDs: []int{20}})
	got := sampleNow(t, j, nil)
	testkit.Near(t, "after", got.CPUTime, .11, 1e-9)
	testkit.Near(t, "processes", got.Processes, 1, 0)
	testkit.Near(t, "the other", sampleNow(t, k, nil).CPUTime, 1, 1e-9)
}

// A job inside another job is counted by itself.
func TestJobInsideAnother(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, start: 1000, utime: 1}, fake{pid: 20, ppid: 10, start: 2000, utime: 10}, fake{pid: 30, ppid: 20, start: 3000, utime: 100})
	s := f.jobs()
	outer := addJob(t, s, Options{PIDs: []int{10}})
	testkit.Near(t, "outer", sampleNow(t, outer, nil).CPUTime, 1.11, 1e-9)
	inner := addJob(t, s, Options{PIDs: []int{20}})
	got := sampleNow(t, inner, nil)
	testkit.Near(t, "inner", got.CPUTime, 1.10, 1e-9)
	testkit.Near(t, "processes of the inner", got.Processes, 2, 0)
	f.kill(20, 30)
	f.put(fake{pid: 10, ppid: 1, start: 1000, utime: 1, cutime: 110})
	testkit.Near(t, "inner, ended", sampleNow(t, inner, nil).CPUTime, 1.10, 1e-9)
	testkit.Near(t, "outer, after it", sampleNow(t, outer, nil).CPUTime, 1.11, 1e-9)
	outer.Remove()
	outer.Remove()
	if _, err := outer.Sample(nil); err == nil {
		t.Error("a removed job gives samples")
	}
	inner.Remove()
	if len(s.procs) != 0 || len(s.sessions) != 0 {
		t.Errorf("%d processes, %d sessions kept", len(s.procs), len(s.sessions))
	}
}

func TestJobErrors(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, start: 1000}, fake{pid: 11, ppid: 10, start: 1001})
	s := f.jobs()
	for want, o := range map[string]Options{
		"process 77":                {PIDs: []int{10, 77}},
		"a job needs":               {},
		"/no/such/dir":              {Cgroup: "/no/such/dir"},
		"not absolute":              {Cgroup: "here"},
		"not a child":               {PIDs: []int{10}, ChildOfThisProcess: true},
		"process -1":                {PIDs: []int{-1}},
		"process 0":                 {PIDs: []int{0}},
		"that this process started": {Cgroup: "/tmp", ChildOfThisProcess: true},
	} {
		if _, err := s.Add(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	if len(s.procs) != 0 {
		t.Errorf("%d processes kept of jobs that are not", len(s.procs))
	}
	f.put(fake{pid: 12, ppid: 10, start: 1000})
	f.write("proc/12/status", "Name:\ta\nTgid:\t10\n")
	if _, err := s.Add(Options{PIDs: []int{12}}); err == nil || !strings.Contains(err.Error(), "12 is a thread of process 10") {
		t.Errorf("a thread: %v", err)
	}
	f.kill(12)
	j := addJob(t, s, Options{PIDs: []int{10}})
	// A process that cannot be read makes the sum unknown while it is alive. The cause is
	// reported once.
	io := filepath.Join(f.dir, "proc/11/io")
	os.Remove(io)
	if err := os.Mkdir(io, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := j.Sample(nil)
	if !errors.Is(err, syscall.EISDIR) || !strings.Contains(err.Error(), io) {
		t.Errorf("error %v", err)
	}
	if got.RChar.OK || !got.CSVoluntary.OK || !got.OpenFiles.OK || !got.CPUTime.OK {
		t.Errorf("rchar %v, others %v, %v, %v", got.RChar, got.CSVoluntary, got.OpenFiles, got.CPUTime)
	}
	if _, err := j.Sample(nil); err != nil {
		t.Errorf("told again: %v", err)
	}
	f.kill(11)
	if got := sampleNow(t, j, nil); !got.RChar.OK {
		t.Error("still unknown when it has gone")
	}
	f.write("proc/10/stat", "10 (half a li")
	if got := sampleNow(t, j, nil); got.Processes.V != 1 || !got.CPUTime.OK {
		t.Errorf("half a stat file: %v processes, CPU time %v", got.Processes, got.CPUTime)
	}
	// If /proc itself cannot be read, no process has ended.
	if err := os.Rename(filepath.Join(f.dir, "proc"), filepath.Join(f.dir, "corp")); err != nil {
		t.Fatal(err)
	}
	s.scanner.Close()
	if err := os.WriteFile(filepath.Join(f.dir, "proc"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.scanned = time.Time{}
	s.mu.Unlock()
	if got, _ := j.Sample(nil); got.Processes.V > 1 {
		t.Errorf("%v processes", got.Processes)
	}
	s.Close()
	if _, err := j.Sample(nil); err == nil {
		t.Error("samples after Close")
	}
	if _, err := s.Add(Options{PIDs: []int{10}}); err == nil {
		t.Error("jobs after Close")
	}
}

// One scan serves all jobs.
func TestJobsShareAScan(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	s := f.jobs()
	now := time.Unix(1000000, 0)
	s.clock = func() time.Time { return now }
	h := procinfo.NewHost(procinfo.DirFS(f.dir))
	defer h.Close()
	h.Processes = s.host
	var all []*Job
	for i := range 1000 {
		f.put(fake{pid: 1000 + i, ppid: 1, start: 100, utime: 1})
		all = append(all, addJob(t, s, Options{PIDs: []int{1000 + i}}))
	}
	now = now.Add(time.Millisecond)
	for _, j := range all {
		if got, err := j.Sample(nil); err != nil || got.Processes.V != 1 {
			t.Fatal(got.Processes, err)
		}
	}
	if err := h.Sample(nil); err != nil {
		t.Error(err)
	}
	testkit.Near(t, "processes", h.System.Processes, 1000, 0)
	testkit.Near(t, "processes_S", h.System.ProcessStates[2], 1000, 0)
	if s.generation != 1 {
		t.Errorf("%d scans", s.generation)
	}
	now = now.Add(time.Second)
	if err := h.Sample(nil); err != nil {
		t.Error(err)
	}
	if _, err := all[7].Sample(nil); err != nil || s.generation != 2 {
		t.Errorf("%d scans, %v", s.generation, err)
	}
}

func TestJobCgroupFiles(t *testing.T) {
	t.Parallel()
	const v2, hybrid = "/sys/fs/cgroup", "/sys/fs/cgroup/unified"
	v1mounts := "31 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n32 23 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	v1files := func(f *fakeProc, procs string) {
		for _, c := range []string{"cpu,cpuacct", "memory"} {
			f.write("sys/fs/cgroup/"+c+"/slot/cgroup.procs", procs)
		}
		f.write("sys/fs/cgroup/cpu,cpuacct/slot/cpuacct.usage", "9000000000\n")
		f.write("sys/fs/cgroup/cpu,cpuacct/slot/cpu.stat", "nr_periods 1\nthrottled_time 1500000000\n")
		f.write("sys/fs/cgroup/memory/slot/memory.usage_in_bytes", "2048000\n")
		f.write("sys/fs/cgroup/memory/slot/memory.max_usage_in_bytes", "4096000\n")
		f.write("sys/fs/cgroup/memory/slot/memory.stat", "rss 5\ntotal_rss 1024000\n")
		f.write("sys/fs/cgroup/memory/slot/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
	}
	v2files := func(f *fakeProc, dir, procs string) {
		dir = dir[1:] + "/slot/"
		f.write(dir+"cgroup.controllers", "cpu memory\n")
		f.write(dir+"cgroup.procs", "")
		f.write(dir+"inner/cgroup.procs", procs)
		f.write(dir+"cpu.stat", "usage_usec 9000000\nthrottled_usec 1500000\n")
		f.write(dir+"memory.current", "2048000\n")
		f.write(dir+"memory.peak", "4096000\n")
		f.write(dir+"memory.stat", "anon 1024000\nanon_thp 7\n")
		f.write(dir+"memory.events", "oom 9\noom_kill 2\n")
	}
	const text2, text1 = "0::/slot\n", "3:memory:/slot\n2:cpu,cpuacct:/slot\n0::/\n"
	mount2 := func(at string) string { return "30 23 0:28 / " + at + " rw - cgroup2 cgroup2 rw\n" }
	for name, test := range map[string]struct {
		mounts, text string
		lay          func(f *fakeProc, procs string)
		given        string
	}{
		"v2":              {mount2(v2), text2, func(f *fakeProc, procs string) { v2files(f, v2, procs) }, ""},
		"v1":              {v1mounts, text1, v1files, ""},
		"hybrid":          {v1mounts + mount2(hybrid), text1, v1files, ""},
		"v2 given":        {mount2(v2), text2, func(f *fakeProc, procs string) { v2files(f, v2, procs) }, v2 + "/slot"},
		"v1 given":        {v1mounts, text1, v1files, "/sys/fs/cgroup/memory/slot"},
		"unknown mount":   {"", text2, func(f *fakeProc, procs string) { v2files(f, v2, procs) }, v2 + "/slot"},
		"part is mounted": {"30 23 0:28 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/1/slot\n", func(f *fakeProc, procs string) { v2files(f, v2, procs) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeProc(t)
			f.write("proc/self/mountinfo", test.mounts)
			f.put(fake{pid: 10, ppid: 1, start: 1000, utime: 100}, fake{pid: 11, ppid: 10, start: 1001}, fake{pid: 12, ppid: 1, start: 1002, utime: 50})
			f.write("proc/10/cgroup", test.text)
			test.lay(f, "10\n11\n")
			s := f.jobs()
			o := Options{PIDs: []int{10}}
			if test.given != "" {
				o.Cgroup = filepath.Join(f.dir, test.given)
			}
			j := addJob(t, s, o)
			got := sampleNow(t, j, nil)
			testkit.Near(t, "mem", got.CgroupMem, 2000, 0)
			testkit.Near(t, "peak", got.CgroupMemPeak, 4000, 0)
			testkit.Near(t, "anon", got.CgroupMemAnon, 1000, 0)
			testkit.Near(t, "throttled", got.CgroupThrottled, 1.5, 1e-9)
			testkit.Near(t, "oom_kill", got.CgroupOOMKills, 2, 0)
			testkit.Near(t, "procs", got.CgroupProcs, 2, 0)
			if test.given != "" {
				testkit.Near(t, "cpu of a cgroup that was given", got.CPUTime, 9, 1e-9)
				// All its processes belong to the job.
				test.lay(f, "10\n11\n12\n0\n")
				testkit.Near(t, "processes", sampleNow(t, j, nil).Processes, 3, 0)
				return
			}
			testkit.Near(t, "cpu", got.CPUTime, 1, 1e-9) // 9 s may be another's, from before
			bump := func(a, b string) {
				filepath.WalkDir(filepath.Join(f.dir, "sys"), func(path string, d os.DirEntry, err error) error {
					if base := filepath.Base(path); base == "cpu.stat" || base == "cpuacct.usage" {
						text, _ := os.ReadFile(path)
						os.WriteFile(path, []byte(strings.Replace(string(text), a, b, 1)), 0o644)
					}
					return nil
				})
			}
			bump("9000000", "9700000")
			got = sampleNow(t, j, nil)
			testkit.Near(t, "cpu, later", got.CPUTime, 1.7, 1e-9)
			if got.LowerBound {
				t.Error("a lower bound")
			}
			// Its last values stay after its removal.
			gone := filepath.Join(f.dir, "sys/fs/cgroup")
			if err := os.Rename(gone, gone+".gone"); err != nil {
				t.Fatal(err)
			}
			got = sampleNow(t, j, nil)
			testkit.Near(t, "mem, gone", got.CgroupMem, 2000, 0)
			testkit.Near(t, "cpu, gone", got.CPUTime, 1.7, 1e-9)
			if err := os.Rename(gone+".gone", gone); err != nil {
				t.Fatal(err)
			}
			// With another process in it, it does not belong to the job any more.
			test.lay(f, "10\n11\n12\n")
			got = sampleNow(t, j, nil)
			if got.CgroupMem.OK || got.CgroupProcs.OK {
				t.Errorf("with a stranger: mem %v, procs %v", got.CgroupMem, got.CgroupProcs)
			}
			testkit.Near(t, "cpu, with a stranger", got.CPUTime, 1.7, 1e-9)
		})
	}
	// The root of a hierarchy, and a cgroup with a process of another namespace, never
	// belong to a job.
	for name, text := range map[string]string{"root": "0::/\n", "namespace": "0::/slot\n", "outside": "0::/../slot\n"} {
		f := newFakeProc(t)
		f.write("proc/self/mountinfo", mount2(v2))
		f.put(fake{pid: 10, ppid: 1, start: 1000})
		f.write("proc/10/cgroup", text)
		f.write("sys/fs/cgroup/cgroup.procs", "10\n")
		v2files(f, v2, "10\n")
		if name == "namespace" {
			v2files(f, v2, "10\n0\n")
		}
		if got := sampleNow(t, addJob(t, f.jobs(), Options{PIDs: []int{10}}), nil); got.CgroupMem.OK {
			t.Errorf("%s: memory %v", name, got.CgroupMem)
		}
	}
}

// The kernel's files never have such content, but files mounted over them may.
func FuzzJob(f *testing.F) {
	f.Add([]byte("10 (a) R 1 10 10 0 -1 4194560 10 9 2 0 1 2 3 4 20 0 1 0 1000 1048576 100 18446744073709551615\n"))
	f.Add([]byte("10 (a) R 1 (b) Z 10 10 10 0 -1 4194560 10 9 2 0 1 2 3 4 20 0 1 0 1000 1048576 100 1\n"))
	f.Add([]byte("rchar: 1\nwchar: 18446744073709551615\nSigIgn:\tffffffffffffffff\nPss:  3 kB\nSwapPss: x kB\nusage_usec 3\n12\n0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(procinfo.FS{Proc: "/nowhere"}, procinfo.NewProcesses(procinfo.FS{Proc: "/nowhere"}))
		j := &Job{set: s}
		p := &proc{pid: 10}
		s.procs[10] = p
		s.join(p, &j.tree)
		s.memTotal = procinfo.Known(1)
		before := procinfo.JobSample{At: time.Unix(1, 0)}
		for i := range 3 {
			if st, ok := kernel.ParsePIDStat(b); ok {
				p.setStat(&st)
			}
			io := kernel.ParsePIDIO(b)
			p.ioKnown = true
			p.setIO(&io)
			status := kernel.ParseStatus(b)
			p.setStatus(&status)
			p.setSwitches([]threadSwitches{{10, [2]uint64{status.Voluntary.N, status.Nonvoluntary.N}}})
			pss, swap := kernel.ParseSmapsRollup(b)
			kernel.ParseKeyed(b, "usage_usec")
			kernel.ParsePIDs(b, func(pid int) bool { return pid >= 0 })
			now := procinfo.JobSample{At: time.Unix(int64(2+i), 0), PSS: procinfo.KnownIf(pss.Float()), SwapPSS: procinfo.KnownIf(swap.Float())}
			j.sum(&now, details{true, true, true})
			now.Rates(&before)
			if text := decreases(&before, &now); text != "" {
				t.Error(text)
			}
			for _, param := range now.Append(nil, func(string) (bool, string) { return true, "" }) {
				if err := param.Check(); err != nil {
					t.Error(err)
				}
				if param.Type() == xdr.TypeReal64 && param.Float() < 0 {
					t.Errorf("%s = %v", param.Name, param.Float())
				}
			}
			before = now
		}
	})
}

// The traffic counts from the first sample on, in the namespace of the first process, and
// never decreases.
func TestNetwork(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 1000})
	traffic := func(pid string, rx, tx int) {
		f.write("proc/"+pid+"/net/dev", fmt.Sprintf("Inter-|   Receive  |  Transmit\n face |bytes\n    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  eth0: %d %d 0 0 0 0 0 0 %d %d 0 0 0 0 0 0\n", rx, rx/100, tx, tx/100))
	}
	namespace := func(pid, n string) {
		f.write("proc/"+pid+"/ns/.keep", "")
		if err := os.Symlink("net:["+n+"]", filepath.Join(f.dir, "proc", pid, "ns", "net")); err != nil {
			t.Fatal(err)
		}
	}
	namespace("10", "1")
	namespace("1", "1")
	s := f.jobs()
	j, err := s.Add(Options{PIDs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) (bool, string) { return true, "" }
	sample := func(choose procinfo.Choice) procinfo.JobSample {
		t.Helper()
		v, err := j.Sample(choose)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	traffic("10", 1000, 500)
	if v := sample(nil); v.NetRxBytes.OK {
		t.Errorf("not chosen: %v", v.NetRxBytes)
	}
	sample(all)
	traffic("10", 1700, 900)
	v := sample(all)
	testkit.Near(t, "rx", v.NetRxBytes, 700, 0)
	testkit.Near(t, "rx packets", v.NetRxPackets, 7, 0)
	testkit.Near(t, "tx", v.NetTxBytes, 400, 0)
	testkit.Near(t, "shared", v.NetShared, 1, 0)
	traffic("10", 100, 100) // an interface was removed
	testkit.Near(t, "rx", sample(all).NetRxBytes, 700, 0)
	traffic("10", 200, 100)
	testkit.Near(t, "rx", sample(all).NetRxBytes, 800, 0)
}

// The engines and memory of GPUs: each client once, ended ones included.
func TestGPU(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.write("dev/dri/renderD128", "")
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 1000}, fake{pid: 20, ppid: 10, session: 5, start: 2000})
	open := func(pid, fd int, target, content string) {
		dir := fmt.Sprintf("proc/%d/", pid)
		f.write(dir+fmt.Sprintf("fdinfo/%d", fd), "pos:\t0\n"+content)
		if err := os.Symlink(target, filepath.Join(f.dir, dir, "fd", strconv.Itoa(fd))); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	amd := func(busy int) string {
		return fmt.Sprintf("drm-driver:\tamdgpu\ndrm-client-id:\t1\ndrm-pdev:\t0000:05:00.0\ndrm-memory-vram:\t1024 KiB\ndrm-engine-gfx:\t%d000000000 ns\n", busy)
	}
	xe := func(cycles, over int) string {
		return fmt.Sprintf("drm-driver:\txe\ndrm-client-id:\t1\ndrm-pdev:\t0000:03:00.0\ndrm-resident-vram0:\t2 MiB\ndrm-cycles-rcs:\t%d\ndrm-total-cycles-rcs:\t%d\n", cycles, over)
	}
	open(10, 5, "/dev/dri/renderD128", amd(3))
	open(20, 5, "/dev/dri/renderD128", amd(3)) // the same open file
	open(20, 6, "/dev/null", "drm-driver:\tnone\ndrm-client-id:\t9\n")
	s := f.jobs()
	now := time.Now()
	s.clock = func() time.Time { return now }
	j, err := s.Add(Options{PIDs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	sample := func() procinfo.JobSample {
		t.Helper()
		now = now.Add(2 * time.Second)
		v, err := j.Sample(nil)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	v := sample()
	testkit.Near(t, "busy", v.GPUTime, 3, 0)
	testkit.Near(t, "memory", v.GPUMem, 1024, 0)
	testkit.Near(t, "devices", v.GPUs, 1, 0)
	// Cycles: the clock runs at 1000 cycles a second, so 4500 are 4.5 s.
	open(20, 7, "/dev/dri/renderD129", xe(4000, 100000))
	if v := sample(); v.GPUTime.OK {
		t.Errorf("cycles of unknown length: %v", v.GPUTime)
	}
	open(20, 7, "/dev/dri/renderD129", xe(4500, 102000))
	v = sample()
	testkit.Near(t, "busy", v.GPUTime, 7.5, 1e-9)
	testkit.Near(t, "memory", v.GPUMem, 1024+2048, 0)
	f.kill(20)
	v = sample()
	testkit.Near(t, "busy after the end of a client", v.GPUTime, 7.5, 1e-9)
	testkit.Near(t, "memory", v.GPUMem, 1024, 0)
	testkit.Near(t, "devices", v.GPUs, 2, 0)
}

// The proportional memory of a job is read in rounds. The next begins after a thousand times
// the cost of the last; in between the last values are sent.
func TestMemoryRounds(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: 10, ppid: 1, session: 5, start: 1000}, fake{pid: 20, ppid: 10, session: 5, start: 2000})
	write := func(pss, swap int) {
		for _, pid := range []string{"10", "20"} {
			f.write("proc/"+pid+"/smaps_rollup", fmt.Sprintf("Rss: 999 kB\nPss: %d kB\nSwapPss: %d kB\n", pss, swap))
			f.write("proc/"+pid+"/status", fmt.Sprintf("Name:\ta\nVmHWM:\t500 kB\nVmRSS:\t460 kB\nVmSwap:\t%d kB\nSigIgn:\t0\n", 2*swap))
		}
	}
	write(100, 7)
	s := f.jobs()
	j, err := s.Add(Options{PIDs: []int{10}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(pss, swapPSS, swap, highest float64) {
		t.Helper()
		v, err := j.Sample(func(string) (bool, string) { return true, "" })
		if err != nil {
			t.Error(err)
		}
		testkit.Near(t, "PSS", v.PSS, pss, 0)
		testkit.Near(t, "swap PSS", v.SwapPSS, swapPSS, 0)
		testkit.Near(t, "swap", v.Swap, swap, 0)
		testkit.Near(t, "highest PSS", v.MaxPSS, highest, 0)
	}
	m := &j.memory
	check(200, 14, 28, 200)
	if m.cost <= 0 || m.rss != 920 {
		t.Errorf("the round took %v, with an rss of %v", m.cost, m.rss)
	}
	write(50, 1)
	m.cost = time.Hour // a large job
	check(200, 14, 4, 200)
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		rss   float64
		due   bool
	}{{999 * time.Hour, 920, false}, {1001 * time.Hour, 920, true}, {999 * time.Hour, 930, false}, {101 * time.Hour, 950, true}, {101 * time.Hour, 890, true}, {99 * time.Hour, 1900, false}} {
		m.ended = now.Add(-c.after)
		if m.due(now, c.rss) != c.due {
			t.Errorf("%v after the last round, with an rss of %v: %v", c.after, c.rss, !c.due)
		}
	}
	m.ended = time.Time{}
	check(100, 2, 4, 200)
}
