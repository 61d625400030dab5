package jobrecord

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at returns a sample of a job, seconds after its start.
func at(seconds, rss float64) procinfo.JobSample {
	s := procinfo.JobSample{At: start.Add(time.Duration(seconds * float64(time.Second))), RunTime: procinfo.Known(seconds)}
	s.RSS, s.Processes, s.RChar = procinfo.Known(rss), procinfo.Known(1), procinfo.Known(1000*seconds)
	s.CPUTime, s.CPUUser = procinfo.Known(seconds/2), procinfo.Known(seconds/4)
	s.MaxRSS = procinfo.Known(rss)
	return s
}

func ended(seconds float64) procinfo.JobSample {
	s := at(seconds, 0)
	s.Ended, s.RSS, s.Processes = true, procinfo.Value{}, procinfo.Value{}
	s.MaxRSS = procinfo.Known(5000) // VmHWM between samples
	return s
}

func known(t *testing.T, name string, got procinfo.Value, want float64) {
	t.Helper()
	if !got.OK || got.V != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	var r Recorder
	r.Add(at(1, 1000), nil)
	r.Add(at(2, 3000), errors.New("io: permission denied"))
	r.Add(at(12, 3000), errors.New("io: permission denied"))
	dying := at(13, 0) // it has given up its memory, and is no zombie yet
	r.Add(dying, nil)
	r.Add(ended(14), nil)
	rec := r.Record()
	known(t, "max", rec.Levels.RSS.Max, 5000)
	known(t, "avg", rec.Levels.RSS.Avg, 2909) // (2000 + 30000) / 11: of time, not of samples
	known(t, "last", rec.Levels.RSS.Last, 3000)
	known(t, "processes", rec.Levels.Processes.Last, 1)
	known(t, "total", rec.Totals.RChar.Total, 14000)
	known(t, "rate", rec.Totals.RChar.Rate, 1000)
	known(t, "cpu", rec.CPU.Total, 7)
	known(t, "system", rec.CPU.System, 3.5)
	known(t, "interval", rec.Measured.LongestInterval, 10)
	known(t, "first sample", rec.Measured.FirstSample, 1)
	if !rec.Job.End.Equal(start.Add(14*time.Second)) || !rec.Job.Start.Equal(start) || len(rec.Measured.Errors) != 1 {
		t.Errorf("start %v, errors %q", rec.Job.Start, rec.Measured.Errors)
	}
	if rec.Levels.PSS.Max.OK || !strings.Contains(rec.Measured.Unknown["pss_kb"], "--pss") || rec.Measured.Unknown["rss_kb"] != "" || rec.Measured.Means["rss_kb"] == "" {
		t.Errorf("pss %v, unknown %v", rec.Levels.PSS, rec.Measured.Unknown)
	}
}

// A job that ends before its first sample has a peak from wait4(2), and no average.
func TestRecordWithoutLiveSample(t *testing.T) {
	t.Parallel()
	var r Recorder
	s := ended(.005)
	s.MaxRSS = procinfo.Value{}
	r.Add(s, nil)
	rec := r.Record()
	rec.SetEnd(start.Add(5*time.Millisecond), 0, 9, nil, 964)
	known(t, "max", rec.Levels.RSS.Max, 964)
	known(t, "used", rec.Resources.Memory.Used, 964)
	known(t, "signal", rec.Job.Signal, 9)
	if rec.Levels.RSS.Avg.OK || rec.Levels.RSS.Last.OK || rec.Job.ExitCode.OK || rec.Measured.Unknown["rss_kb"] != noSample || rec.Measured.Means["rss_kb"] == "" {
		t.Errorf("%+v, %+v", rec.Levels.RSS, rec.Measured)
	}
}

// Every record is valid, and has every field of the schema.
func TestRecordFollowsSchema(t *testing.T) {
	t.Parallel()
	schema := testkit.ReadJSONSchema(t, "../../docs/job-record.schema.json")
	var empty, full Recorder
	s := at(1, 1000)
	for _, v := range []*procinfo.Value{&s.PSS, &s.SwapPSS, &s.Swap, &s.VirtualMem, &s.Threads, &s.OpenFiles, &s.CgroupMem, &s.CgroupMemPeak, &s.WChar, &s.ReadBytes, &s.WriteBytes,
		&s.PageFaultsMin, &s.PageFaultsMaj, &s.CSVoluntary, &s.CSNonvoluntary, &s.NetRxBytes, &s.NetTxBytes, &s.NetRxPackets, &s.NetTxPackets, &s.NetShared, &s.GPUTime, &s.GPUMem, &s.GPUs, &s.CgroupOOMKills} {
		*v = procinfo.Known(1)
	}
	full.Add(s, nil)
	rec := full.Record()
	rec.SetResources(Amounts{CPUs: Amount{procinfo.Known(2), "--cpus"}}, Amounts{})
	rec.SetEnd(start, 126, 0, errors.New("sh: permission denied & <more>"), 0)
	rec.Job.Command = []string{"sh"}
	if len(rec.Measured.Unknown) > 0 || rec.Totals.NetShared == nil {
		t.Errorf("unknown: %v", rec.Measured.Unknown)
	}
	for name, rec := range map[string]*Record{"empty": empty.Record(), "full": rec} {
		b, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if faults := schema.Check(b); len(faults) > 0 {
			t.Errorf("%s: %s\n%s", name, strings.Join(faults, "\n"), b)
		}
		var back Record
		if err := json.Unmarshal(b, &back); err != nil || back.Levels != rec.Levels || !back.Job.Start.Equal(rec.Job.Start.Truncate(time.Millisecond)) {
			t.Errorf("%s: read back %+v, %v", name, back, err)
		}
	}
	// The check can fail.
	b, _ := json.Marshal(rec)
	for old, changed := range map[string]string{`"version":1`: `"version":2`, `"total_s":0.5`: `"total_s":"0.5"`, `"lower_bound":false`: `"lower":false`, `"max":1000`: `"max":-1`} {
		if bad := strings.Replace(string(b), old, changed, 1); bad == string(b) || len(schema.Check([]byte(bad))) == 0 {
			t.Errorf("%s passes", changed)
		}
	}
	// The names of the quantities are the fields.
	for i := range Quantities {
		if q := &Quantities[i]; !strings.Contains(string(b), `"`+q.Name+`":{`) {
			t.Errorf("%s is not a field of the record", q.Name)
		}
	}
}

func TestEfficiency(t *testing.T) {
	t.Parallel()
	var r Recorder
	s := at(100, 1000)
	r.Add(s, nil)
	rec := r.Record()
	rec.SetResources(Amounts{CPUs: Amount{procinfo.Known(2), "a"}, Memory: Amount{procinfo.Known(4000), "b"}}, Amounts{CPUs: Amount{procinfo.Known(4), "c"}})
	x := &rec.Resources
	known(t, "CPUs", x.CPUs.Used, .5)
	known(t, "of the request", x.CPUs.EfficiencyRequested, 25)
	known(t, "of the allocation", x.CPUs.EfficiencyAllocated, 12.5)
	known(t, "memory", x.Memory.EfficiencyRequested, 25)
	if x.Time.Requested.OK || x.Time.EfficiencyRequested.OK || x.Time.RequestedSource != "" || x.Memory.EfficiencyAllocated.OK {
		t.Errorf("without a request: %+v", x.Time)
	}
	// Requested and unused is 0 %, not null.
	var idle Recorder
	s.CPUTime, s.CPUUser = procinfo.Known(0), procinfo.Known(0)
	idle.Add(s, nil)
	rec = idle.Record()
	rec.SetResources(Amounts{CPUs: Amount{procinfo.Known(8), "a"}}, Amounts{})
	known(t, "idle", rec.Resources.CPUs.EfficiencyRequested, 0)
	// Proportional memory is the better numerator.
	s.PSS, s.MaxPSS = procinfo.Known(400), procinfo.Known(400)
	idle.Add(s, nil)
	rec = idle.Record()
	if rec.Resources.Memory.Used.V != 400 || rec.Resources.Memory.UsedSource != "levels.pss_kb.max" {
		t.Errorf("memory %+v", rec.Resources.Memory)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	g := &procinfo.General{CPUsAllowed: procinfo.Known(4)}
	g.CPU.Logical = procinfo.Known(4)
	if a := Limits(g); a.CPUs.Value.OK || a.Memory.Value.OK {
		t.Errorf("the whole host is no limit: %v", a)
	}
	g.CPUsAllowed = procinfo.Known(3)
	if a := Limits(g); a.CPUs != (Amount{procinfo.Known(3), "CPU affinity or cpuset"}) {
		t.Errorf("%v", a)
	}
	g.CPUsAllowed, g.CPUQuota, g.MemLimit = procinfo.Known(1.5), procinfo.Known(1.5), procinfo.Known(2048)
	a := Limits(g)
	if a.CPUs != (Amount{procinfo.Known(1.5), "cgroup CPU quota"}) || a.Memory != (Amount{procinfo.Known(2048 * 1024), "cgroup memory limit"}) {
		t.Errorf("%v", a)
	}
	// The slot has 8 CPUs, the container only 1.5.
	both := Amounts{CPUs: Amount{procinfo.Known(8), "SLURM_CPUS_ON_NODE"}, Memory: Amount{procinfo.Known(1024), "x"}}.Least(a)
	if both.CPUs.Value.V != 1.5 || both.Memory.Source != "x" || both.Time.Value.OK {
		t.Errorf("%v", both)
	}
}

const jobAd = `MyType = "Job"
ClusterId = 4521
ProcId = 3
GlobalJobId = "schedd.example.org#4521.3#1767225600"
RequestCpus = 8
RequestMemory = 16000
RequestDisk = 20000000
AllowedExecuteDuration = 86400
CpusProvisioned = 8
MemoryProvisioned = 16128
Environment = "A=1 RequestCpus=99"
`

const machineAd = `Name = "slot1_4@node.example.org"
Cpus = 8
Memory = 16384
TotalCpus = 64.0
TotalMemory = 257000
`

// TestBatch: each source of a denominator, as the batch systems set it.
func TestBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ad, machine := file(".job.ad", jobAd), file(".machine.ad", machineAd)
	expressions := file("expressions.ad", "ClusterId = 7\nProcId = 0\nRequestCpus = undefined\nRequestMemory = ifthenelse(MemoryUsage =!= undefined,MemoryUsage,(ImageSize + 1023) / 1024)\nMaxWallTimeMins = 90\nmemoryprovisioned = 128\n")
	const none = -1
	for name, tt := range map[string]struct {
		env                                            string
		system, id                                     string
		cpus, memoryMB, seconds, allocCPUs, allocMB    float64
		cpuSource, memorySource, timeSource, allocFrom string
	}{
		"none": {"", "", "", none, none, none, none, none, "", "", "", ""},
		"condor": {"_CONDOR_JOB_AD=" + ad + " _CONDOR_MACHINE_AD=" + machine, "htcondor", "schedd.example.org#4521.3#1767225600", 8, 16000, 86400, 8, 16384,
			"_CONDOR_JOB_AD RequestCpus", "_CONDOR_JOB_AD RequestMemory", "_CONDOR_JOB_AD AllowedExecuteDuration", "_CONDOR_MACHINE_AD Cpus"},
		"condor without a machine ad": {"_CONDOR_JOB_AD=" + ad, "htcondor", "schedd.example.org#4521.3#1767225600", 8, 16000, 86400, 8, 16128, "", "", "", "_CONDOR_JOB_AD CpusProvisioned"},
		// Expressions are no numbers; those of the pilot's Slurm job are not the job's.
		"condor in a pilot of slurm": {"_CONDOR_JOB_AD=" + expressions + " SLURM_JOB_ID=1 SLURM_CPUS_ON_NODE=64 SLURM_MEM_PER_NODE=250000", "htcondor", "7.0", none, none, 5400, none, 128,
			"", "", "_CONDOR_JOB_AD MaxWallTimeMins", ""},
		"alien in a slot of condor": {"ALIEN_PROC_ID=99 _CONDOR_JOB_AD=" + ad, "alien", "99", none, none, none, none, none, "", "", "", ""},
		"slurm: --cpus-per-task=4 --mem=8G -t 2:00:00": {"SLURM_JOB_ID=4711 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_PER_TASK=4 SLURM_CPUS_ON_NODE=4 SLURM_MEM_PER_NODE=8192 SLURM_JOB_START_TIME=1767225600 SLURM_JOB_END_TIME=1767232800",
			"slurm", "4711", 4, 8192, 7200, 4, 8192 * none, "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "SLURM_JOB_END_TIME - SLURM_JOB_START_TIME", "SLURM_CPUS_ON_NODE"},
		"slurm: -n 2 -c 3 --mem-per-cpu=1000": {"SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=3 SLURM_CPUS_ON_NODE=8 SLURM_MEM_PER_CPU=1000", "slurm", "1", 6, 8000, none, 8, none,
			"SLURM_CPUS_PER_TASK * SLURM_NTASKS", "SLURM_MEM_PER_CPU * SLURM_CPUS_ON_NODE", "", ""},
		"slurm: -n 4":       {"SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=4 SLURM_CPUS_ON_NODE=4", "slurm", "1", 4, none, none, 4, none, "SLURM_NTASKS", "", "", ""},
		"slurm: no request": {"SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_ON_NODE=2 SLURM_MEM_PER_NODE=0", "slurm", "1", none, none, none, 2, none, "", "", "", ""},
		"slurm: two nodes":  {"SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=2 SLURM_NTASKS=8 SLURM_CPUS_PER_TASK=2 SLURM_CPUS_ON_NODE=10", "slurm", "1", none, none, none, 10, none, "", "", "", ""},
		"slurm: one of 8 tasks": {"SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=8 SLURM_STEP_TASKS_PER_NODE=4(x2) SLURM_NTASKS=8 SLURM_JOB_NUM_NODES=2 SLURM_CPUS_PER_TASK=2 SLURM_CPUS_ON_NODE=8 SLURM_MEM_PER_NODE=64000",
			"slurm", "1", 2, none, none, none, none, "SLURM_CPUS_PER_TASK", "", "", ""},
		"slurm: one task on each of 4 nodes": {"SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_STEP_TASKS_PER_NODE=1(x4) SLURM_JOB_NUM_NODES=4 SLURM_CPUS_PER_TASK=8 SLURM_CPUS_ON_NODE=8 SLURM_MEM_PER_NODE=64000",
			"slurm", "1", 8, 64000, none, 8, none, "", "SLURM_MEM_PER_NODE", "", ""},
		"slurm: different numbers of tasks": {"SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=5 SLURM_STEP_TASKS_PER_NODE=1(x2),3 SLURM_JOB_NUM_NODES=3 SLURM_CPUS_ON_NODE=8 SLURM_MEM_PER_NODE=64000", "slurm", "1", none, none, none, none, none, "", "", "", ""},
		"slurm: no time limit":              {"SLURM_JOB_ID=1 SLURM_JOB_START_TIME=1767225600 SLURM_JOB_END_TIME=1798761600", "slurm", "1", none, none, none, none, none, "", "", "", ""},
		"slurm: a task, --mem-per-cpu=2G":   {"SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=8 SLURM_CPUS_PER_TASK=2 SLURM_MEM_PER_CPU=2G", "slurm", "1", 2, 4096, none, none, none, "", "SLURM_MEM_PER_CPU * SLURM_CPUS_PER_TASK", "", ""},
		"pbs":                               {"PBS_JOBID=12.server", "pbs", "12.server", none, none, none, none, none, "", "", "", ""},
	} {
		env := map[string]string{}
		for _, kv := range strings.Fields(tt.env) {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		b := NewBatch(func(k string) string { return env[k] })
		if b.System != tt.system || b.ID != tt.id {
			t.Errorf("%s: %s %s", name, b.System, b.ID)
		}
		for _, x := range []struct {
			what   string
			got    Amount
			want   float64
			source string
		}{
			{"CPUs", b.Requested.CPUs, tt.cpus, tt.cpuSource}, {"memory", b.Requested.Memory, tt.memoryMB * 1024, tt.memorySource}, {"time", b.Requested.Time, tt.seconds, tt.timeSource},
			{"allocated CPUs", b.Allocated.CPUs, tt.allocCPUs, tt.allocFrom}, {"allocated memory", b.Allocated.Memory, tt.allocMB * 1024, ""},
		} {
			if x.got.Value.OK != (x.want >= 0) || x.got.Value.OK && x.got.Value.V != x.want || x.source != "" && x.got.Source != x.source {
				t.Errorf("%s: %s is %v, want %v from %s", name, x.what, x.got, x.want, x.source)
			}
		}
	}
}
