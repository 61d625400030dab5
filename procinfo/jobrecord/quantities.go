package jobrecord

import (
	"encoding/json"

	"github.com/apmon-go/apmon/procinfo"
)

// A Quantity is a quantity of a sample: a level, or a total that only grows.
type Quantity struct {
	Name     string // as in the record
	Decimals int    // that a sample can know
	Means    string // how it is measured
	why      string // the usual reason why it is unknown
	Value    func(*procinfo.JobSample) procinfo.Value

	peak  func(*procinfo.JobSample) procinfo.Value // a better peak than that of the samples, or nil
	level func(*Record) *Level                     // nil for a total
	total func(*Record) *Total                     // nil for a level
}

type (
	sample = procinfo.JobSample
	value  = procinfo.Value
)

const (
	status    = "VmRSS, VmSwap and VmHWM of /proc/PID/status; wait4(2)"
	smaps     = "/proc/PID/smaps_rollup, within a cost budget"
	pidStat   = "/proc/PID/stat"
	pidIO     = "/proc/PID/io"
	pidNet    = "/proc/PID/net/dev of the job's network namespace, without loopback; since the first sample"
	fdinfo    = "/proc/PID/fdinfo: DRM usage statistics"
	noPSS     = "not chosen (--pss, xApMon_job_pss), or no round through the processes was completed while the job lived"
	noCgroup  = "the job has no cgroup of its own with the memory controller"
	noGPU     = "no process used a GPU whose driver reports DRM usage statistics; NVIDIA's own driver does not"
	unread    = "a process could not be read, or the parameter was not chosen"
	noSample  = "no sample was taken while the job lived"
	noNetwork = "not chosen, or it cannot be read"
)

// Quantities are the levels and totals of a record, in the order of the columns of a
// time series.
var Quantities = []Quantity{
	level("rss_kb", 0, status, noSample, func(s *sample) value { return s.RSS }, func(s *sample) value { return s.MaxRSS }, func(r *Record) *Level { return &r.Levels.RSS }),
	level("pss_kb", 0, smaps, noPSS, func(s *sample) value { return s.PSS }, func(s *sample) value { return s.MaxPSS }, func(r *Record) *Level { return &r.Levels.PSS }),
	level("swap_kb", 0, status, noSample, func(s *sample) value { return s.Swap }, nil, func(r *Record) *Level { return &r.Levels.Swap }),
	level("swap_pss_kb", 0, smaps, noPSS, func(s *sample) value { return s.SwapPSS }, nil, func(r *Record) *Level { return &r.Levels.SwapPSS }),
	level("vmem_kb", 0, pidStat, noSample, func(s *sample) value { return s.VirtualMem }, func(s *sample) value { return s.MaxVirtualMem }, func(r *Record) *Level { return &r.Levels.VMem }),
	level("processes", 0, "/proc", noSample, func(s *sample) value { return s.Processes }, func(s *sample) value { return s.MaxProcesses }, func(r *Record) *Level { return &r.Levels.Processes }),
	level("threads", 0, pidStat, noSample, func(s *sample) value { return s.Threads }, func(s *sample) value { return s.MaxThreads }, func(r *Record) *Level { return &r.Levels.Threads }),
	level("open_files", 0, "/proc/PID/fd", unread, func(s *sample) value { return s.OpenFiles }, func(s *sample) value { return s.MaxOpenFiles }, func(r *Record) *Level { return &r.Levels.OpenFiles }),
	level("cgroup_memory_kb", 0, "memory.current of the job's cgroup, page cache included", noCgroup, func(s *sample) value { return s.CgroupMem }, nil, func(r *Record) *Level { return &r.Levels.CgroupMemory }),
	level("gpu_memory_kb", 0, fdinfo, noGPU, func(s *sample) value { return s.GPUMem }, nil, func(r *Record) *Level { return &r.Levels.GPUMemory }),
	level("gpus", 0, fdinfo, noGPU, func(s *sample) value { return s.GPUs }, nil, func(r *Record) *Level { return &r.Levels.GPUs }),

	total("rchar_bytes", 0, pidIO, unread, func(s *sample) value { return s.RChar }, func(r *Record) *Total { return &r.Totals.RChar }),
	total("wchar_bytes", 0, pidIO, unread, func(s *sample) value { return s.WChar }, func(r *Record) *Total { return &r.Totals.WChar }),
	total("read_bytes", 0, pidIO, unread, func(s *sample) value { return s.ReadBytes }, func(r *Record) *Total { return &r.Totals.Read }),
	total("write_bytes", 0, pidIO, unread, func(s *sample) value { return s.WriteBytes }, func(r *Record) *Total { return &r.Totals.Written }),
	total("page_faults_minor", 0, pidStat+", getrusage(2)", noSample, func(s *sample) value { return s.PageFaultsMin }, func(r *Record) *Total { return &r.Totals.PageFaultsMin }),
	total("page_faults_major", 0, pidStat+", getrusage(2)", noSample, func(s *sample) value { return s.PageFaultsMaj }, func(r *Record) *Total { return &r.Totals.PageFaultsMaj }),
	total("context_switches_voluntary", 0, "/proc/PID/status of each thread, getrusage(2)", unread, func(s *sample) value { return s.CSVoluntary }, func(r *Record) *Total { return &r.Totals.CSVoluntary }),
	total("context_switches_nonvoluntary", 0, "/proc/PID/status of each thread, getrusage(2)", unread, func(s *sample) value { return s.CSNonvoluntary }, func(r *Record) *Total { return &r.Totals.CSNonvoluntary }),
	total("rx_bytes", 0, pidNet, noNetwork, func(s *sample) value { return s.NetRxBytes }, func(r *Record) *Total { return &r.Totals.Rx }),
	total("tx_bytes", 0, pidNet, noNetwork, func(s *sample) value { return s.NetTxBytes }, func(r *Record) *Total { return &r.Totals.Tx }),
	total("rx_packets", 0, pidNet, noNetwork, func(s *sample) value { return s.NetRxPackets }, func(r *Record) *Total { return &r.Totals.RxPackets }),
	total("tx_packets", 0, pidNet, noNetwork, func(s *sample) value { return s.NetTxPackets }, func(r *Record) *Total { return &r.Totals.TxPackets }),
	total("oom_kills", 0, "memory.events or memory.oom_control of the job's cgroup", noCgroup, func(s *sample) value { return s.CgroupOOMKills }, func(r *Record) *Total { return &r.Totals.OOMKills }),
	total("gpu_s", 3, fdinfo, noGPU, func(s *sample) value { return s.GPUTime }, func(r *Record) *Total { return &r.Totals.GPU }),
}

func level(name string, decimals int, means, why string, get, peak func(*sample) value, in func(*Record) *Level) Quantity {
	return Quantity{Name: name, Decimals: decimals, Means: means, why: why, Value: get, peak: peak, level: in}
}

func total(name string, decimals int, means, why string, get func(*sample) value, in func(*Record) *Total) Quantity {
	return Quantity{Name: name, Decimals: decimals, Means: means, why: why, Value: get, total: in}
}

// IsTotal reports whether the quantity only grows.
func (q *Quantity) IsTotal() bool { return q.total != nil }

// LevelOf returns the level of the quantity in a record, nil if it is a total.
func (q *Quantity) LevelOf(r *Record) *Level {
	if q.level == nil {
		return nil
	}
	return q.level(r)
}

// TotalOf returns the total of the quantity in a record, nil if it is a level.
func (q *Quantity) TotalOf(r *Record) *Total {
	if q.total == nil {
		return nil
	}
	return q.total(r)
}

// marshalText returns a JSON string. HTML is not escaped: commands contain & and >.
func marshalText(s string) ([]byte, error) { return json.Marshal(s) }
