package jobtree

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

// word matches command lines that contain it.
func word(w string) func(int, []string) bool {
	return func(_ int, args []string) bool { return strings.Contains(strings.Join(args, " "), w) }
}

// serviceNow takes a sample of a service with a look and a scan of its own.
func serviceNow(t testing.TB, j *Job) procinfo.JobSample {
	t.Helper()
	j.set.mu.Lock()
	if l := j.set.look; l != nil && l.isDone() {
		j.set.look = nil
	}
	j.set.mu.Unlock()
	return sampleNow(t, j, nil)
}

// Command lines of the processes with these names.
var fakeLines = map[string]string{"svc": "/usr/sbin/svc\x00-x\x00", "other": "/bin/other\x00", "none": ""}

func (f *fakeProc) putLines(procs ...fake) {
	f.put(procs...)
	for _, p := range procs {
		f.write("proc/"+strconv.Itoa(p.pid)+"/cmdline", fakeLines[p.comm])
	}
}

func TestServiceTree(t *testing.T) {
	t.Parallel()
	svc := func(pid, start int, cpu uint64) fake {
		return fake{pid: pid, ppid: 1, session: 5, start: start, utime: cpu, comm: "svc"}
	}
	child := func(of, pid, start int, cpu uint64) fake {
		return fake{pid: pid, ppid: of, session: 5, start: start, utime: cpu, comm: "other"}
	}
	as := func(p fake, name string) fake { p.comm = name; return p }
	waited := func(p fake, c uint64) fake { p.cutime = c; return p }
	type step struct {
		put                      []fake
		kill                     []int
		up, restarts             float64
		processes, ticks, runFor float64 // processes -1: nothing but up and restarts is known
	}
	for name, steps := range map[string][]step{
		"never there": {
			{put: []fake{child(1, 10, 100, 5)}, processes: -1},
			{processes: -1},
		},
		"comes, ends and comes again": {
			{processes: -1},
			{put: []fake{svc(10, 90000, 10), child(10, 20, 91000, 3)}, up: 1, processes: 2, ticks: 13, runFor: 100},
			{kill: []int{10, 20}, up: 0, processes: 0, ticks: 13, runFor: 100},
			{up: 0, processes: 0, ticks: 13, runFor: 100},
			{put: []fake{svc(30, 95000, 1)}, up: 1, restarts: 1, processes: 1, ticks: 14, runFor: 50},
		},
		"others join and leave": {
			{put: []fake{svc(10, 90000, 10)}, up: 1, processes: 1, ticks: 10, runFor: 100},
			{put: []fake{svc(11, 91000, 20), svc(12, 92000, 30), child(12, 20, 93000, 5)}, up: 1, processes: 4, ticks: 65, runFor: 100},
			{kill: []int{10}, up: 1, processes: 3, ticks: 65, runFor: 100},
			{kill: []int{11, 12}, up: 0, processes: 1, ticks: 65, runFor: 100},
			{put: []fake{svc(40, 99000, 0)}, up: 1, restarts: 1, processes: 2, ticks: 65, runFor: 10},
		},
		"all are replaced": {
			{put: []fake{svc(10, 90000, 10)}, up: 1, processes: 1, ticks: 10, runFor: 100},
			{kill: []int{10}, put: []fake{svc(11, 95000, 1)}, up: 1, restarts: 1, processes: 1, ticks: 11, runFor: 50},
		},
		"a pid used again": {
			{put: []fake{svc(10, 90000, 10)}, up: 1, processes: 1, ticks: 10, runFor: 100},
			{put: []fake{svc(10, 95000, 1)}, up: 1, restarts: 1, processes: 1, ticks: 11, runFor: 50},
			{put: []fake{as(svc(10, 96000, 999), "other")}, up: 0, restarts: 1, processes: 0, ticks: 11, runFor: 50},
		},
		"workers that match too are waited for": {
			{put: []fake{svc(10, 90000, 10), as(child(10, 20, 91000, 100), "svc")}, up: 1, processes: 2, ticks: 110, runFor: 100},
			{kill: []int{20}, put: []fake{waited(svc(10, 90000, 10), 105), as(child(10, 21, 92000, 7), "svc")}, up: 1, processes: 2, ticks: 122, runFor: 100},
			// The master ends, its worker continues.
			{kill: []int{10}, put: []fake{as(child(1, 21, 92000, 8), "svc")}, up: 1, processes: 1, ticks: 123, runFor: 100},
		},
		"one that is no longer found goes on as a member": {
			{put: []fake{svc(10, 90000, 10), svc(11, 90000, 10)}, up: 1, processes: 2, ticks: 20, runFor: 100},
			{put: []fake{as(svc(11, 90000, 15), "other")}, up: 1, processes: 2, ticks: 25, runFor: 100},
			{kill: []int{10}, up: 0, processes: 1, ticks: 25, runFor: 100},
			{put: []fake{svc(11, 90000, 16)}, up: 1, restarts: 1, processes: 1, ticks: 26, runFor: 100},
		},
		"a parent joins after its children, and has what they left": {
			{put: []fake{as(svc(10, 90000, 0), "other"), as(child(10, 20, 91000, 100), "svc"), as(child(10, 21, 91000, 1), "svc")}, up: 1, processes: 2, ticks: 101, runFor: 90},
			{kill: []int{20}, put: []fake{as(waited(svc(10, 90000, 0), 100), "other")}, up: 1, processes: 1, ticks: 101, runFor: 90},
			{put: []fake{waited(svc(10, 90000, 2), 100)}, up: 1, processes: 2, ticks: 103, runFor: 90},
			{kill: []int{21}, put: []fake{waited(svc(10, 90000, 2), 101)}, up: 1, processes: 1, ticks: 103, runFor: 90},
		},
		"a kernel thread and a zombie are none": {
			{put: []fake{as(svc(10, 90000, 1), "none")}, processes: -1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeProc(t)
			s := f.jobs()
			j := addJob(t, s, Options{Service: &Service{Match: word("svc")}})
			var prev *procinfo.JobSample
			for i, st := range steps {
				f.kill(st.kill...)
				f.putLines(st.put...)
				got := serviceNow(t, j)
				what := func(s string) string { return fmt.Sprintf("step %d: %s", i, s) }
				testkit.Near(t, what("up"), got.Up, st.up, 0)
				testkit.Near(t, what("restarts"), got.Restarts, st.restarts, 0)
				if st.processes < 0 {
					if got.CPUTime.OK || got.RunTime.OK || got.Processes.OK {
						t.Errorf("step %d: %+v is known of a service that never ran", i, got)
					}
					continue
				}
				testkit.Near(t, what("CPU time"), got.CPUTime, st.ticks/100, 1e-9)
				if got.Processes.OK || st.up > 0 { // unknown once it has ended
					testkit.Near(t, what("processes"), got.Processes, st.processes, 0)
				}
				testkit.Near(t, what("run time"), got.RunTime, st.runFor, 1e-9)
				got.Rates(prev)
				prev = &got
			}
		})
	}
}

// After a restart, cpu_usage is that since the restart, but cpu_time continues.
func TestServiceUsageBeginsAgain(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	s := f.jobs()
	f.putLines(fake{pid: 10, ppid: 1, start: 90000, utime: 9000, comm: "svc"})
	j := addJob(t, s, Options{Service: &Service{Match: word("svc")}})
	testkit.Near(t, "cpu_usage", serviceNow(t, j).CPUUsage, 90, 1e-9)
	f.kill(10)
	f.putLines(fake{pid: 11, ppid: 1, start: 99000, utime: 100, comm: "svc"})
	got := serviceNow(t, j)
	testkit.Near(t, "cpu_time", got.CPUTime, 91, 1e-9)
	testkit.Near(t, "cpu_usage", got.CPUUsage, 10, 1e-9)
}

// A process id stands for one process: a later process with this id does not belong to the
// service, unless a pid file names it.
func TestServiceByPID(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	s := f.jobs()
	file := []int{10}
	byFile := addJob(t, s, Options{Service: &Service{PIDs: func() ([]int, error) { return file, nil }}})
	byPID := addJob(t, s, Options{PIDs: []int{10}, Service: &Service{}})
	check := func(what string, j *Job, up, restarts float64) {
		t.Helper()
		got := serviceNow(t, j)
		testkit.Near(t, what+": up", got.Up, up, 0)
		testkit.Near(t, what+": restarts", got.Restarts, restarts, 0)
	}
	check("file, before", byFile, 0, 0)
	check("pid, before", byPID, 0, 0)
	f.put(fake{pid: 10, ppid: 1, start: 90000, utime: 1})
	check("file", byFile, 1, 0)
	check("pid", byPID, 1, 0)
	f.kill(10)
	check("file, ended", byFile, 0, 0)
	f.put(fake{pid: 10, ppid: 1, start: 95000, utime: 1})
	check("file, again", byFile, 1, 1)
	check("pid, a stranger's", byPID, 0, 0)
	file = nil
	check("file, empty", byFile, 0, 1)
}

// If the roots are in different cgroups, none of these belongs to the job.
func TestServiceInSeveralCgroups(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	s := f.jobs()
	f.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	cgroup := func(name string, usage int, pids ...int) {
		procs := ""
		for _, pid := range pids {
			f.write("proc/"+strconv.Itoa(pid)+"/cgroup", "0::/"+name+"\n")
			procs += strconv.Itoa(pid) + "\n"
		}
		f.write("sys/fs/cgroup/"+name+"/cgroup.procs", procs)
		f.write("sys/fs/cgroup/"+name+"/cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 0\nsystem_usec 0\n", usage))
		f.write("sys/fs/cgroup/"+name+"/memory.current", "1024\n")
	}
	f.putLines(fake{pid: 10, ppid: 1, start: 90000, utime: 100, comm: "svc"})
	cgroup("a", 1000000, 10)
	j := addJob(t, s, Options{Service: &Service{Match: word("svc")}})
	if got := serviceNow(t, j); !got.CgroupMem.OK {
		t.Skip("the fixture's cgroup is not found")
	}
	f.putLines(fake{pid: 11, ppid: 1, start: 91000, utime: 100, comm: "svc"})
	cgroup("b", 1000000, 11)
	got := serviceNow(t, j)
	testkit.Near(t, "CPU time", got.CPUTime, 2, 1e-9)
	if got.CgroupMem.OK || got.CgroupProcs.OK {
		t.Errorf("the cgroup of one of two roots counts: %v, %v", got.CgroupMem, got.CgroupProcs)
	}
}

// The end of the last process is noticed at once, each time.
func TestServiceEndIsNoticed(t *testing.T) {
	t.Parallel()
	w := fmt.Sprintf("noticed-%d", os.Getpid())
	s := liveJobs(t)
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err != nil || !s.own {
		t.Skip("no pidfd here")
	} else {
		unix.Close(fd)
	}
	ended := make(chan struct{}, 10)
	j := addJob(t, s, Options{Service: &Service{Match: word(w)}, Exited: func() { ended <- struct{}{} }})
	testkit.Near(t, "up", serviceNow(t, j).Up, 0, 0)
	for round := range 2 {
		_, end1 := testkit.Sleeper(t, w)
		_, end2 := testkit.Sleeper(t, w)
		got := serviceNow(t, j)
		testkit.Near(t, "up", got.Up, 1, 0)
		testkit.Near(t, "restarts", got.Restarts, float64(round), 0)
		testkit.Near(t, "processes", got.Processes, 2, 0)
		end1()
		s.mu.Lock()
		j.service.endLook = time.Time{} // a second has passed
		s.mu.Unlock()
		testkit.Near(t, "up, with one", serviceNow(t, j).Up, 1, 0)
		end2()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("not noticed")
		}
		testkit.Near(t, "up, after the end", serviceNow(t, j).Up, 0, 0)
	}
}

// Short-lived processes match. The counters keep the values that a sample saw of them.
func TestServiceOfShortLivedProcesses(t *testing.T) {
	t.Parallel()
	w := fmt.Sprintf("shortlived-%d", os.Getpid())
	s := liveJobs(t)
	j := addJob(t, s, Options{Service: &Service{Match: word(w)}})
	// Each burns some CPU time, then sleeps, and ends; two at a time.
	cmd := exec.Command("/bin/sh", "-c", `while :; do
		for i in 1 2; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep .05; :' sh `+w[:5]+`"$1" & done
		wait
	done`, "sh", w[5:])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	var last procinfo.JobSample
	seen, deadline := 0, time.Now().Add(time.Minute)
	for (seen < 20 || last.CPUTime.V <= 0 || last.ProcessesTotal.V < 3) && time.Now().Before(deadline) {
		got := serviceNow(t, j)
		if got.Up.V == 1 {
			seen++
		}
		last.RunTime = procinfo.Value{} // it begins again with each restart
		if text := decreases(&last, &got); text != "" {
			t.Fatal(text)
		}
		last = got
	}
	if seen < 20 {
		t.Fatalf("up in %d samples", seen)
	}
	if last.CPUTime.V <= 0 || last.ProcessesTotal.V < 3 {
		t.Errorf("cpu_time %v, processes_total %v", last.CPUTime, last.ProcessesTotal)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(j.led) > len(j.members) || len(s.procs) != len(j.members) {
		t.Errorf("%d sessions and %d processes are kept for %d members", len(j.led), len(s.procs), len(j.members))
	}
}

// A process whose command line cannot be read does not affect other services for long.
func TestServiceLookThatHangs(t *testing.T) {
	t.Parallel()
	w := fmt.Sprintf("hangs-%d", os.Getpid())
	s := liveJobs(t)
	hang, hung := make(chan struct{}), make(chan struct{})
	defer close(hang)
	pid, _ := testkit.Sleeper(t, w)
	var hangs atomic.Bool
	once := sync.OnceFunc(func() { close(hung) })
	j := addJob(t, s, Options{Service: &Service{PIDs: func() ([]int, error) {
		if hangs.Load() {
			once()
			<-hang
		}
		return []int{pid}, nil
	}}})
	testkit.Near(t, "up", serviceNow(t, j).Up, 1, 0)
	hangs.Store(true)
	s.mu.Lock()
	s.look, s.scanned = nil, time.Time{}
	s.mu.Unlock()
	begin := time.Now()
	got, err := j.Sample(nil)
	<-hung
	if err == nil || !strings.Contains(err.Error(), errLookHangs.Error()) {
		t.Errorf("error %v", err)
	}
	testkit.Near(t, "processes", got.Processes, 1, 0)
	if took := time.Since(begin); took < lookTime {
		t.Errorf("took %v", took)
	}
	for try := range 10 {
		begin = time.Now()
		if _, err := j.Sample(nil); err != nil {
			t.Errorf("told again: %v", err)
		}
		took := time.Since(begin)
		if took < lookTime {
			break
		}
		if try == 9 {
			t.Errorf("waited again: %v", took)
		}
	}
}

// On a slow host a look takes longer than it counts as recent: one is enough.
func TestServiceLookIsSlow(t *testing.T) {
	t.Parallel()
	s := liveJobs(t)
	pid, _ := testkit.Sleeper(t, fmt.Sprintf("slow-%d", os.Getpid()))
	var late, looks atomic.Int64 // of a look in the background too, when the process ends
	s.clock = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	j := addJob(t, s, Options{Service: &Service{PIDs: func() ([]int, error) {
		if looks.Add(1) < 10 {
			late.Add(int64(2 * scanAge))
		}
		return []int{pid}, nil
	}}})
	looks.Store(0)
	testkit.Near(t, "up", serviceNow(t, j).Up, 1, 0)
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks for a sample", n)
	}
}

// A process that just executed a program has the command line of that program.
func TestServiceCmdline(t *testing.T) {
	t.Parallel()
	w := strings.Repeat("long ", 5000) + "end-" + strconv.Itoa(os.Getpid())
	pid, _ := testkit.Sleeper(t, w)
	var s process.Scanner
	s.Dir.Path = "/proc"
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Dir.Close()
	var want []byte
	testkit.Eventually(t, "the command line of a process that has just executed a program", func() bool {
		var err error
		if want, err = os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err != nil {
			t.Fatal(err)
		}
		return len(want) > 0
	})
	line := s.Cmdline(pid, make([]byte, maxCmdline))
	if !bytes.Equal(line, want) || !bytes.Contains(line, []byte(w)) {
		t.Errorf("%d bytes read, want %d", len(line), len(want))
	}
}
