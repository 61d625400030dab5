package jobrecord

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/apmon-go/apmon/procinfo"
)

// Batch is what a batch system's environment says about the job of this process.
type Batch struct {
	System    string // "alien", "htcondor", "slurm", "pbs", "lsf", "arc"; empty for none
	ID        string
	Requested Amounts
	Allocated Amounts
}

// NewBatch reads the environment of the batch system, and the files that it names:
//
//	HTCondor  _CONDOR_JOB_AD: RequestCpus, RequestMemory, AllowedExecuteDuration,
//	          AllowedJobDuration, MaxRuntime, MaxWallTimeMins; CpusProvisioned and
//	          MemoryProvisioned. _CONDOR_MACHINE_AD: Cpus, Memory.
//	Slurm     SLURM_CPUS_PER_TASK with SLURM_NTASKS, SLURM_MEM_PER_NODE or
//	          SLURM_MEM_PER_CPU, SLURM_JOB_START_TIME and SLURM_JOB_END_TIME;
//	          SLURM_CPUS_ON_NODE
//
// The innermost batch system counts: a job of HTCondor may run in a pilot's job of Slurm,
// whose numbers are those of the pilot, and a job of AliEn in one of either. A number that
// does not say how much this process and its children were given on this node is not used.
// getenv is a function such as [os.Getenv].
func NewBatch(getenv func(string) string) (b Batch) {
	var requested, allocated Amounts
	for _, v := range [...]struct{ system, name string }{
		{"alien", "ALIEN_PROC_ID"}, {"htcondor", "_CONDOR_JOB_AD"}, {"slurm", "SLURM_JOB_ID"}, {"pbs", "PBS_JOBID"}, {"lsf", "LSB_JOBID"}, {"arc", "GRID_GLOBAL_JOBID"},
	} {
		id := strings.TrimSpace(getenv(v.name))
		switch {
		case id == "":
			continue
		case v.system == "htcondor":
			job := readAd(id)
			if job == nil {
				continue
			}
			id, requested, allocated = job.id(), job.requested(), job.provisioned()
			if file := strings.TrimSpace(getenv("_CONDOR_MACHINE_AD")); file != "" {
				allocated = readAd(file).machine().Or(allocated)
			}
		case v.system == "slurm":
			requested, allocated = slurm(getenv)
		}
		if id != "" {
			return Batch{v.system, id, requested, allocated}
		}
	}
	return Batch{Requested: requested, Allocated: allocated}
}

// maxAd is how many bytes of a description are read.
const maxAd = 1 << 20

// ad is a description of a job or machine by HTCondor: the values of the attributes that
// are used, by their names in lower case.
type ad map[string]string

var adNames = map[string]bool{
	"globaljobid": true, "clusterid": true, "procid": true,
	"requestcpus": true, "requestmemory": true, "cpusprovisioned": true, "memoryprovisioned": true,
	"allowedexecuteduration": true, "allowedjobduration": true, "maxruntime": true, "maxwalltimemins": true,
	"cpus": true, "memory": true,
}

// readAd reads a description: lines "Attribute = value", the names in any case. It is nil
// if there is none.
func readAd(path string) ad {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not block on a pipe
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	attrs := ad{}
	lines := bufio.NewScanner(io.LimitReader(f, maxAd))
	lines.Buffer(nil, maxAd) // one line may hold the whole environment
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if name = strings.ToLower(strings.TrimSpace(name)); ok && adNames[name] {
			attrs[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return attrs
}

// id returns the name of the job.
func (a ad) id() string {
	if id := a["globaljobid"]; id != "" {
		return id
	}
	if a["clusterid"] != "" && a["procid"] != "" {
		return a["clusterid"] + "." + a["procid"]
	}
	return ""
}

// amount returns an attribute times unit. An expression has no value here: it is
// evaluated at the match.
func (a ad) amount(file, name string, unit float64) Amount {
	return Amount{positive(a[strings.ToLower(name)]).Scaled(unit), file + " " + name}
}

func (a ad) requested() (r Amounts) {
	const file = "_CONDOR_JOB_AD"
	r.CPUs, r.Memory = a.amount(file, "RequestCpus", 1), a.amount(file, "RequestMemory", 1024)
	for _, name := range [...]string{"AllowedExecuteDuration", "AllowedJobDuration", "MaxRuntime"} {
		r = r.Or(Amounts{Time: a.amount(file, name, 1)})
	}
	return r.Or(Amounts{Time: a.amount(file, "MaxWallTimeMins", 60)})
}

func (a ad) provisioned() Amounts {
	const file = "_CONDOR_JOB_AD"
	return Amounts{CPUs: a.amount(file, "CpusProvisioned", 1), Memory: a.amount(file, "MemoryProvisioned", 1024)}
}

func (a ad) machine() Amounts {
	const file = "_CONDOR_MACHINE_AD"
	return Amounts{CPUs: a.amount(file, "Cpus", 1), Memory: a.amount(file, "Memory", 1024)}
}

// positive returns a positive number, unknown for any other text.
func positive(s string) procinfo.Value {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return procinfo.KnownIf(f, err == nil && f > 0)
}

// slurmUnlimited is the time in seconds between the start and the end that Slurm announces for
// a job without a time limit.
const slurmUnlimited = 365 * 24 * 3600

// slurm returns the amounts of a Slurm job on this node: of one task of a step (srun), or
// of a batch script. See sbatch(1) and srun(1), output environment variables.
func slurm(getenv func(string) string) (requested, allocated Amounts) {
	num := func(name string) procinfo.Value { return positive(getenv(name)) }
	perTask, tasks, source := num("SLURM_CPUS_PER_TASK"), procinfo.Known(1), "SLURM_CPUS_PER_TASK"
	oneTask := true // on this node
	if getenv("SLURM_STEP_ID") != "" {
		tasks := getenv("SLURM_STEP_TASKS_PER_NODE") // such as 1(x4): one on each of four nodes
		oneTask = tasks == "1" || strings.HasPrefix(tasks, "1(x") && !strings.Contains(tasks, ",") || getenv("SLURM_STEP_NUM_TASKS") == "1"
	} else if nodes := num("SLURM_JOB_NUM_NODES"); nodes.OK && nodes.V == 1 {
		if n := num("SLURM_NTASKS"); n.OK {
			if tasks = n; !perTask.OK {
				perTask, source = procinfo.Known(1), "SLURM_NTASKS"
			} else if n.V > 1 {
				source += " * SLURM_NTASKS"
			}
		}
	} else if nodes.OK { // several nodes: the request of one node is not known
		perTask = procinfo.Value{}
	}
	if perTask.OK {
		requested.CPUs = Amount{perTask.Scaled(tasks.V), source}
	}
	if oneTask {
		allocated.CPUs = Amount{num("SLURM_CPUS_ON_NODE"), "SLURM_CPUS_ON_NODE"}
	}
	switch perCPU := slurmMemory(getenv("SLURM_MEM_PER_CPU")); {
	case perCPU.OK && allocated.CPUs.Value.OK:
		requested.Memory = Amount{perCPU.Scaled(allocated.CPUs.Value.V), "SLURM_MEM_PER_CPU * SLURM_CPUS_ON_NODE"}
	case perCPU.OK && requested.CPUs.Value.OK:
		requested.Memory = Amount{perCPU.Scaled(requested.CPUs.Value.V), "SLURM_MEM_PER_CPU * " + requested.CPUs.Source}
	case oneTask: // otherwise it is shared with the other tasks
		requested.Memory = Amount{slurmMemory(getenv("SLURM_MEM_PER_NODE")), "SLURM_MEM_PER_NODE"}
	}
	if start, end := num("SLURM_JOB_START_TIME"), num("SLURM_JOB_END_TIME"); start.OK && end.OK && end.V > start.V && end.V-start.V < slurmUnlimited {
		requested.Time = Amount{procinfo.Known(end.V - start.V), "SLURM_JOB_END_TIME - SLURM_JOB_START_TIME"}
	}
	return requested, allocated
}

// slurmMemory returns an amount of memory in KiB: of MiB, or with a unit.
func slurmMemory(s string) procinfo.Value {
	unit, s := 1024., strings.ToUpper(strings.TrimSpace(s))
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && i == len(s)-1 {
		unit, s = map[byte]float64{'K': 1, 'M': 1 << 10, 'G': 1 << 20, 'T': 1 << 30}[s[i]], s[:i]
	}
	return positive(s).Scaled(unit)
}
