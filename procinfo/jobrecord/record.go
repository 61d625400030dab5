// Package jobrecord makes the record of a job: its samples go in, and one structure comes
// out, with averages, peaks, totals and efficiencies. It reads no clock and no process.
//
// The JSON of a [Record] is described by docs/job-record.schema.json. Names end with the
// unit: _s is seconds, _kb KiB, _bytes bytes, _per_s per second, _percent percent; a name
// without one is a number. Unknown values are null.
package jobrecord

import (
	"strconv"
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Schema and Version identify the format. The version increases when a field changes its
// meaning or is removed, not when one is added.
const (
	Schema  = "apmon-job-record"
	Version = 1
)

// Record is the record of a job.
type Record struct {
	Schema    string    `json:"schema"`
	Version   int       `json:"version"`
	Job       Job       `json:"job"`
	CPU       CPU       `json:"cpu"`
	Levels    Levels    `json:"levels"`
	Totals    Totals    `json:"totals"`
	Resources Resources `json:"resources"`
	Hardware  Hardware  `json:"hardware"`
	Measured  Measured  `json:"measured"`
}

// Job identifies a job and describes its end. ExitCode, Signal and Error are unknown while
// it runs. Those of a job that another process started are only known if the kernel lets
// this process read them: see [procinfo.JobSample].
type Job struct {
	Command     []string       `json:"command"`
	Cluster     Text           `json:"cluster"`
	Node        Text           `json:"node"`
	BatchSystem Text           `json:"batch_system"`
	BatchID     Text           `json:"batch_id"`
	Host        Text           `json:"host"`
	PID         procinfo.Value `json:"pid"`
	Start       Time           `json:"start_time"`
	End         Time           `json:"end_time"`
	RunTime     procinfo.Value `json:"run_time_s"`
	ExitCode    procinfo.Value `json:"exit_code"`
	Signal      procinfo.Value `json:"signal"`
	Error       Text           `json:"error"` // the reason why the job could not be started
}

// CPU is the CPU time of all processes that the job ever had, in seconds.
type CPU struct {
	Total      procinfo.Value `json:"total_s"`
	User       procinfo.Value `json:"user_s"`
	System     procinfo.Value `json:"system_s"`
	LowerBound bool           `json:"lower_bound"` // Total may be incomplete
}

// Level describes a quantity that goes up and down. Avg is weighted by time, from the
// first to the last sample. Last is the last value while the job lived.
type Level struct {
	Max  procinfo.Value `json:"max"`
	Avg  procinfo.Value `json:"avg"`
	Last procinfo.Value `json:"last"`
}

// Levels are sums over the processes of the job.
type Levels struct {
	RSS          Level `json:"rss_kb"`
	PSS          Level `json:"pss_kb"`
	Swap         Level `json:"swap_kb"`
	SwapPSS      Level `json:"swap_pss_kb"`
	VMem         Level `json:"vmem_kb"`
	Processes    Level `json:"processes"`
	Threads      Level `json:"threads"`
	OpenFiles    Level `json:"open_files"`
	CgroupMemory Level `json:"cgroup_memory_kb"` // page cache included; of samples
	GPUMemory    Level `json:"gpu_memory_kb"`
	GPUs         Level `json:"gpus"` // that the job has used so far

	// CgroupMemoryPeak is the kernel's own peak of cgroup_memory_kb. It includes page
	// cache, so it may be far above the peak of rss_kb.
	CgroupMemoryPeak procinfo.Value `json:"cgroup_memory_peak_kb"`
}

// Total describes a quantity that only grows. Rate is the mean over the run time.
type Total struct {
	Total procinfo.Value `json:"total"`
	Rate  procinfo.Value `json:"avg_per_s"`
}

// Totals are sums over all processes that the job ever had, except those of the network.
type Totals struct {
	RChar          Total `json:"rchar_bytes"`
	WChar          Total `json:"wchar_bytes"`
	Read           Total `json:"read_bytes"`
	Written        Total `json:"write_bytes"`
	PageFaultsMin  Total `json:"page_faults_minor"`
	PageFaultsMaj  Total `json:"page_faults_major"`
	CSVoluntary    Total `json:"context_switches_voluntary"`
	CSNonvoluntary Total `json:"context_switches_nonvoluntary"`
	Rx             Total `json:"rx_bytes"`
	Tx             Total `json:"tx_bytes"`
	RxPackets      Total `json:"rx_packets"`
	TxPackets      Total `json:"tx_packets"`
	OOMKills       Total `json:"oom_kills"` // processes of the job's cgroup
	GPU            Total `json:"gpu_s"`

	// NetShared is true if the network totals may include traffic of other jobs, null if
	// they are unknown.
	NetShared *bool `json:"net_shared"`
}

// Hardware describes the host.
type Hardware struct {
	CPUModel   Text             `json:"cpu_model"`
	Sockets    procinfo.Value   `json:"sockets"`
	Cores      procinfo.Value   `json:"cores"`
	CPUs       procinfo.Value   `json:"cpus"` // logical
	Memory     procinfo.Value   `json:"memory_kb"`
	Kernel     Text             `json:"kernel"`
	Benchmarks procinfo.Factors `json:"benchmarks"` // per CPU
}

// NewHardware returns the hardware of a host.
func NewHardware(g *procinfo.General) Hardware {
	return Hardware{
		CPUModel: Text(g.CPU.ModelName), Sockets: g.CPU.Sockets, Cores: g.CPU.Cores, CPUs: g.CPU.Logical,
		Memory: g.TotalMem.Scaled(1024).Rounded(0), Kernel: Text(g.KernelVersion), Benchmarks: g.Factors,
	}
}

// Measured describes how the values were obtained.
type Measured struct {
	Samples         procinfo.Value    `json:"samples"`
	FirstSample     procinfo.Value    `json:"first_sample_s"`     // since the start of the job
	LongestInterval procinfo.Value    `json:"longest_interval_s"` // between two samples
	ProcessesTotal  procinfo.Value    `json:"processes_total"`    // in any sample
	Means           map[string]string `json:"means"`              // of each quantity that is known
	Unknown         map[string]string `json:"unknown"`            // the reason for each that is not
	Errors          []string          `json:"errors"`             // what could not be read; each cause once
}

// Text is a string that is null in JSON if it is empty.
type Text string

// MarshalJSON returns the string, or null.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return marshalText(string(t))
}

// Time is a time that is null in JSON if it is zero, otherwise in UTC with milliseconds.
type Time struct{ time.Time }

// MarshalJSON returns the time, or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendQuote(nil, t.UTC().Format("2006-01-02T15:04:05.000Z")), nil
}

// SetEnd sets the end of a job that the caller started: its exit code, or the signal that
// ended it, or the reason why it could not be started. maxRSS is the peak of the largest
// single process in KiB as wait4(2) returns it, 0 if unknown.
func (r *Record) SetEnd(end time.Time, code, signal int, failed error, maxRSS int64) {
	r.Job.End = Time{end}
	r.Job.ExitCode, r.Job.Signal = procinfo.Known(float64(code)), procinfo.Value{}
	if signal != 0 {
		r.Job.ExitCode, r.Job.Signal = procinfo.Value{}, procinfo.Known(float64(signal))
	}
	if failed != nil {
		r.Job.Error = Text(failed.Error())
	}
	if v := float64(maxRSS); v > r.Levels.RSS.Max.V {
		r.Levels.RSS.Max = procinfo.Known(v)
		if r.Measured.Means == nil {
			r.Measured.Means = map[string]string{}
		}
		r.Measured.Means["rss_kb"] = status
		r.Resources.setMemoryUsed(r)
	}
}
