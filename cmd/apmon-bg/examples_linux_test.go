package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/xdr"
)

// example prepares a call of a script of examples/ in a folder of its own, with the
// environment that a batch system sets and no other.
func example(t *testing.T, script string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs("../../examples/" + script)
	must(t, err)
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/nonexistent", "APMON_BG=" + linked(t)}, env...)
	return cmd
}

func recordIn(t *testing.T, cmd *exec.Cmd, file string) jobrecord.Record {
	t.Helper()
	return readSummary(t, filepath.Join(cmd.Dir, file))
}

func TestExampleHTCondorWrapper(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	scratch := t.TempDir()
	job, machine := filepath.Join(scratch, ".job.ad"), filepath.Join(scratch, ".machine.ad")
	must(t, os.WriteFile(job, []byte("GlobalJobId = \"schedd#12.0#1\"\nClusterId = 12\nProcId = 0\nRequestCpus = 2\nRequestMemory = 1000\n"), 0o600))
	must(t, os.WriteFile(machine, []byte("Cpus = 2\nMemory = 2000\n"), 0o600))
	env := []string{"_CONDOR_SCRATCH_DIR=" + scratch, "_CONDOR_JOB_AD=" + job, "_CONDOR_MACHINE_AD=" + machine, "_CONDOR_SLOT=slot1_1", "TMPDIR=" + scratch, "APMON_CONFIG=" + recv.Addr()}
	cmd := example(t, "htcondor/job-wrapper", env, "sh", "-c", `echo "$1"; exit 7`, "sh", "two words")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || string(out) != "two words\n" {
		t.Errorf("%v: %s", cmd.ProcessState, out)
	}
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Node == "schedd#12.0#1" && text(d, "status") == "ended" })
	r := readSummary(t, filepath.Join(scratch, "apmon-usage.json"))
	if x := r.Resources; r.Job.BatchSystem != "htcondor" || x.CPUs.Requested != procinfo.Known(2) || x.Memory.Requested != procinfo.Known(1000*1024) || r.Job.ExitCode != procinfo.Known(7) {
		t.Errorf("%+v", r)
	}
	cmd = example(t, "htcondor/job-wrapper", append(env, "APMON_BG=/nonexistent"), "sh", "-c", "exit 7")
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("without apmon-bg: %v", cmd.ProcessState)
	}
	// HTCondor distinguishes a signal from an exit code: ExitBySignal.
	cmd = example(t, "htcondor/job-wrapper", env, "sh", "-c", "kill -USR1 $$")
	_ = cmd.Run()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGUSR1 {
		t.Errorf("ended by a signal: %v", cmd.ProcessState)
	}
}

// The hook prints attributes and a line with a dash, also when nothing was sent.
func TestExampleHTCondorCron(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	env := []string{"STARTD_CRON_INTERFACE_VERSION=1", "STARTD_CRON_CRON_NAME=STARTD_CRON", "STARTD_CRON_NAME=APMON", "APMON_CONFIG=" + recv.Addr()}
	cmd := example(t, "htcondor/startd-cron", env)
	out, err := cmd.Output()
	if s := string(out); err != nil || !strings.HasPrefix(s, "ApMonReported = true\nApMonLastReport = 1") || !strings.HasSuffix(s, "\nApMonExitCode = 0\n- update\n") {
		t.Errorf("%v: %s", err, out)
	}
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "HTCondor_Nodes" && has(d, "load1") })
	out, err = example(t, "htcondor/startd-cron", append(env, "APMON_BG=/nonexistent")).Output()
	if err != nil || string(out) != "ApMonReported = false\nApMonExitCode = 127\n- update\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// Slurm runs the prolog in the process of the task, reads its standard output to the end,
// kills its process group, and then becomes the task.
func TestExampleSlurm(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	tmp := t.TempDir()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	task := exec.Command("cat")
	task.Stdin = r
	must(t, task.Start())
	defer task.Process.Kill()
	env := []string{"SLURM_JOB_ID=4711", "SLURM_STEP_ID=0", "SLURM_PROCID=3", "SLURM_LOCALID=0", fmt.Sprint("SLURM_TASK_PID=", task.Process.Pid), "TMPDIR=" + tmp, "APMON_CONFIG=" + recv.Addr()}
	prolog := example(t, "slurm/task-prolog", env)
	prolog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := prolog.Output() // until standard output is closed
	if err != nil || len(out) > 0 {
		t.Errorf("prolog: %v, %q", err, out)
	}
	pidfile := filepath.Join(tmp, "apmon-4711.0.3.pid")
	pid := 0
	testkit.Eventually(t, "an agent that follows the task", func() bool {
		b, _ := os.ReadFile(pidfile)
		_, err := fmt.Sscan(string(b), &pid)
		return err == nil && followsJobs(pid)
	})
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if group, err := syscall.Getpgid(pid); err != nil || group == prolog.Process.Pid {
		t.Errorf("the agent is in the group %d of the prolog, %v", group, err)
	}
	w.Close()
	must(t, task.Wait())
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return d.Cluster == "Slurm_Jobs" && d.Node == "4711.0.3" && has(d, "cpu_time")
	})
	if out, err := example(t, "slurm/task-epilog", env).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("epilog: %v, %s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "apmon-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	testkit.Eventually(t, "the end of the agent", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) })
	for _, script := range []string{"slurm/task-prolog", "slurm/task-epilog"} { // a failing prolog would cancel the task
		if out, err := example(t, script, append(env, "APMON_BG=/nonexistent")).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s without apmon-bg: %v, %s", script, err, out)
		}
	}
}

// zombie reports whether a process has ended and was not reaped: nothing may reap orphans
// here.
func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}

func TestExamplePBS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := example(t, "pbs/job.sh", []string{"PBS_JOBID=99.server", "PBS_O_WORKDIR=" + dir, "PBS_ENVIRONMENT=PBS_BATCH", "NCPUS=2", "COMMAND=exit 5", "APMON_CONFIG=127.0.0.1:9"})
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v: %s", cmd.ProcessState, out)
	}
	r := readSummary(t, filepath.Join(dir, "usage.99.server.json"))
	if x := r.Resources; r.Job.BatchSystem != "pbs" || r.Job.Node != "99.server" || x.CPUs.Requested != procinfo.Known(2) || x.Memory.Requested != procinfo.Known(4<<20) || x.Time.Requested != procinfo.Known(3600) {
		t.Errorf("%+v", r)
	}
	if lines(filepath.Join(dir, "series.99.server.tsv")) < 2 {
		t.Error("no series")
	}
	// Without apmon-bg the command runs; without a command the job fails.
	env := []string{"PBS_JOBID=99.server", "PBS_O_WORKDIR=" + dir, "APMON_BG=/nonexistent"}
	cmd = example(t, "pbs/job.sh", append(env, "COMMAND=exit 6"))
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("without apmon-bg: %v", cmd.ProcessState)
	}
	if example(t, "pbs/job.sh", env).Run() == nil {
		t.Error("a job without a command succeeds")
	}
}

// A pilot's payload is a command line. Its orphans are ended.
func TestExamplePilot(t *testing.T) {
	t.Parallel()
	cmd := example(t, "pilot/run-payload", []string{"PANDAID=815", "APMON_CONFIG=" + apmontest.New(t).Addr()}, "815", `X="a b"; echo "$X" | tr a c; exit 4`)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 4 || string(out) != "c b\n" {
		t.Errorf("%v: %s", cmd.ProcessState, out)
	}
	if r := recordIn(t, cmd, "usage.json"); r.Job.Node != "815" || r.Job.ExitCode != procinfo.Known(4) || r.Job.Command[0] != "bash" {
		t.Errorf("%+v", r)
	}
	for _, file := range []string{"prmon.txt", "prmon.json"} {
		if lines(filepath.Join(cmd.Dir, file)) < 2 {
			t.Errorf("no %s", file)
		}
	}
	if example(t, "pilot/run-payload", nil, "815").Run() == nil {
		t.Error("a payload without a command succeeds")
	}
}

// As process 1 of a container, exec reaps orphans and forwards signals.
func TestExampleContainer(t *testing.T) {
	t.Parallel()
	alone := example(t, "container/entrypoint", []string{"APMON_BG=/nonexistent"}, "sh", "-c", "exit 6")
	if _ = alone.Run(); alone.ProcessState.ExitCode() != 6 {
		t.Errorf("without apmon-bg: %v", alone.ProcessState)
	}
	namespace := []string{"--pid", "--fork", "--mount-proc"}
	if os.Geteuid() != 0 {
		namespace = append(namespace, "--user", "--map-root-user")
	}
	if out, err := exec.Command("unshare", append(namespace, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no pid namespace: %v: %s", err, out)
	}
	recv := apmontest.New(t)
	inside := func(script string) *exec.Cmd {
		cmd := example(t, "container/entrypoint", []string{"APMON_SUMMARY=usage.json", "APMON_CONFIG=" + recv.Addr()})
		cmd.Args = append(append([]string{"unshare"}, namespace...), cmd.Path, "sh", "-c", script)
		path, err := exec.LookPath("unshare")
		must(t, err)
		cmd.Path = path
		return cmd
	}
	// Each orphan's parent ends at once, so that process 1 has to reap it.
	cmd := inside(`for i in 1 2 3; do (true & sleep 0.1 & exit 0) ; done
		while sleep 0.1; do [ "$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null)" ] || [ "$(pgrep -c sleep)" -gt 1 ] || break; done; echo "$PPID"; exit 9`)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 9 || string(out) != "1\n" {
		t.Errorf("%v: %s", cmd.ProcessState, out)
	}
	if r := recordIn(t, cmd, "usage.json"); r.Job.ExitCode != procinfo.Known(9) {
		t.Errorf("%+v", r.Job)
	}

	cmd = inside(`trap 'echo stopped; exit 3' TERM; echo ready >ready; while :; do sleep 0.1; done`)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer kill.Stop()
	testkit.Eventually(t, "the command", func() bool { return lines(filepath.Join(cmd.Dir, "ready")) == 1 })
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	first := 0
	if _, e := fmt.Sscan(string(children), &first); err != nil || e != nil {
		t.Fatal(err, e)
	}
	must(t, syscall.Kill(first, syscall.SIGTERM)) // process 1 of the namespace
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 3 || said.String() != "stopped\n" {
		t.Errorf("after a signal: %v, %s", cmd.ProcessState, said.String())
	}
}
