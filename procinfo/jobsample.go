package procinfo

import (
	"sync"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// JobSample is a sample of a job.
//
// A sum over the processes is unknown while one of them cannot be read: a partial sum would
// look like a complete one. Counters never decrease from one sample to the next. They
// include processes that have ended: see docs/jobs.md for the exceptions.
//
// In JSON an unknown value is null.
type JobSample struct {
	At      time.Time `json:"time"`       // when the CPU time was read
	RunTime Value     `json:"run_time_s"` // s, from the start until now or the end of the job

	CPUTime         Value `json:"cpu_s"`                     // s, user and system, of every process the job ever had
	CPUUser         Value `json:"cpu_user_s"`                // s, a part of CPUTime, in the ratio of the kernel's ticks
	CPUSystem       Value `json:"cpu_system_s"`              // s, the other part
	CPUUsage        Value `json:"cpu_usage_percent"`         // % of one CPU: CPUTime / RunTime
	InstantCPUUsage Value `json:"instant_cpu_usage_percent"` // % of one CPU, since the previous report; see Rates
	NumCPUs         Value `json:"cpus"`                      // number of CPUs that the job was given

	// CPUSource is the means by which CPUTime was measured, in words.
	CPUSource string `json:"cpu_source,omitempty"`

	// LowerBound reports that CPUTime may lack CPU time that the job used: a process that
	// no process of the job waited for vanished, and had not ended when it was last seen;
	// or a process of the job ignored SIGCHLD; or one took over less CPU time from its
	// children than was seen of them. It is false if the job's own cgroup or a Counter
	// has the exact value. It does not cover a process that no sample saw and that no
	// process of the job waited for.
	LowerBound bool `json:"cpu_lower_bound"`

	// Ended reports that the roots have ended and no process of the job is alive. Then
	// the values that only living processes have are unknown: memory, files, threads and
	// processes. The peaks stay.
	Ended bool `json:"ended"`

	VirtualMem Value `json:"vmem_kb"`           // KiB, sum over the processes
	RSS        Value `json:"rss_kb"`            // KiB, sum over the processes
	MaxRSS     Value `json:"rss_max_kb"`        // KiB, the highest RSS of the job in a sample, or of one process at any time
	MemUsage   Value `json:"mem_usage_percent"` // %, RSS / memory of the host
	Swap       Value `json:"swap_kb"`           // KiB, anonymous memory in swap space, sum over the processes
	PSS        Value `json:"pss_kb"`            // KiB, shared pages divided among the processes; the last complete value
	SwapPSS    Value `json:"swap_pss_kb"`       // KiB, the same of swapped pages
	MaxPSS     Value `json:"pss_max_kb"`        // KiB, the highest PSS

	OpenFiles      Value `json:"open_files"`
	Processes      Value `json:"processes"` // processes that are not reaped yet
	Threads        Value `json:"threads"`
	ProcessesTotal Value `json:"processes_total"` // all processes that were ever seen
	Samples        Value `json:"samples"`         // number of samples, including this one

	// The highest value of the whole job in any sample.
	MaxVirtualMem Value `json:"vmem_max_kb"`
	MaxProcesses  Value `json:"processes_max"`
	MaxThreads    Value `json:"threads_max"`
	MaxOpenFiles  Value `json:"open_files_max"`

	PageFaultsMin      Value `json:"page_faults_minor"` // without I/O, including children that were waited for
	PageFaultsMaj      Value `json:"page_faults_major"` // with I/O
	CSVoluntary        Value `json:"context_switches_voluntary"`
	CSNonvoluntary     Value `json:"context_switches_nonvoluntary"`
	CSRateVoluntary    Value `json:"context_switches_voluntary_per_s"` // since the previous report; see Rates
	CSRateNonvoluntary Value `json:"context_switches_nonvoluntary_per_s"`
	ReadBytes          Value `json:"read_bytes"`  // from storage
	WriteBytes         Value `json:"write_bytes"` // to storage
	RChar              Value `json:"rchar_bytes"` // through read(2) and the like
	WChar              Value `json:"wchar_bytes"` // through write(2) and the like

	// The traffic of the interfaces of the network namespace that the job's first process
	// is in, since the first sample. NetShared is 1 if processes that do not belong to the
	// job may use the same namespace: then it is the traffic of the host or container.
	NetRxBytes   Value `json:"rx_bytes"`
	NetTxBytes   Value `json:"tx_bytes"`
	NetRxPackets Value `json:"rx_packets"`
	NetTxPackets Value `json:"tx_packets"`
	NetShared    Value `json:"net_shared"`

	// From the DRM drivers of GPUs, for the processes of the job: see docs/jobs.md.
	GPUTime Value `json:"gpu_s"`         // s, busy time of all engines
	GPUMem  Value `json:"gpu_memory_kb"` // KiB, resident
	GPUs    Value `json:"gpus"`          // devices that the job has used

	// Children are the direct children of the roots, the oldest first, if the job was added
	// with a number of them.
	Children []JobChild `json:"children,omitempty"`

	// The job's own cgroup, including those below it.
	CgroupMem       Value `json:"cgroup_memory_kb"`
	CgroupMemPeak   Value `json:"cgroup_memory_peak_kb"`
	CgroupMemAnon   Value `json:"cgroup_memory_anon_kb"`
	CgroupThrottled Value `json:"cgroup_cpu_throttled_s"`
	CgroupOOMKills  Value `json:"cgroup_oom_kills"`
	CgroupProcs     Value `json:"cgroup_processes"`

	// A service. It restarts when new processes are found after all earlier ones have
	// ended. Then its counters continue, but RunTime and CPUUsage begin again.
	Up       Value `json:"up"`       // 1 if a process was found, 0 if not
	Restarts Value `json:"restarts"` // number of restarts that were seen

	// The work directory and its file system, in MiB.
	WorkDirMB Value `json:"workdir_mb"`
	DiskTotal Value `json:"disk_total_mb"`
	DiskUsed  Value `json:"disk_used_mb"`
	DiskFree  Value `json:"disk_free_mb"`
	DiskUsage Value `json:"disk_usage_percent"`

	// The end of the root, one of the two. The process that reaps the root sets it. Of a job
	// with one root that another process started, it is known if this process may trace the
	// root: it has the same user and group, or CAP_SYS_PTRACE. On Linux 6.15 and later it is
	// also known if the parent of the root was faster.
	ExitCode   Value `json:"exit_code"`
	ExitSignal Value `json:"exit_signal"`

	// Factors are results of CPU benchmarks. The caller sets them.
	Factors Factors `json:"benchmarks"`
}

// JobChild is a direct child of a root, with all processes below it.
type JobChild struct {
	PID     int   `json:"pid"`
	CPUTime Value `json:"cpu_s"`  // s, of those that live and of those that they waited for; it never decreases
	RSS     Value `json:"rss_kb"` // KiB
}

// Rates sets the rates of s since prev, the sample of the previous report. They are unknown
// if prev is nil or no time has passed.
func (s *JobSample) Rates(prev *JobSample) {
	s.InstantCPUUsage, s.CSRateVoluntary, s.CSRateNonvoluntary = Value{}, Value{}, Value{}
	if prev == nil {
		return
	}
	seconds := s.At.Sub(prev.At).Seconds()
	per := func(now, old Value) Value {
		if !now.OK || !old.OK || now.V < old.V || seconds <= 0 {
			return Value{}
		}
		return Known((now.V - old.V) / seconds)
	}
	s.InstantCPUUsage = per(s.CPUTime, prev.CPUTime).Scaled(100)
	s.CSRateVoluntary = per(s.CSVoluntary, prev.CSVoluntary)
	s.CSRateNonvoluntary = per(s.CSNonvoluntary, prev.CSNonvoluntary)
}

// Append appends the parameters that are chosen and known.
func (s *JobSample) Append(params []xdr.Param, choose Choice) []xdr.Param {
	return appendRows(jobRows(), s, params, choose)
}

// times returns the product of two values, unknown if one of them is.
func (v Value) times(w Value) Value {
	if !w.OK {
		return Value{}
	}
	return v.Scaled(w.V)
}

var jobRows = sync.OnceValue(func() []row[JobSample] {
	type S = JobSample
	num := func(option, name, unit, meaning, source string, get func(*S) Value, aliases ...string) row[S] {
		m := Metric{Category: "job", Option: "job_" + option, Name: name, Unit: unit, Meaning: meaning, Source: source}
		for _, a := range aliases {
			m.Aliases = append(m.Aliases, Alias{"job_" + a, name})
		}
		return row[S]{Metric: m, num: get}
	}
	same := func(name, unit, meaning, source string, get func(*S) Value, aliases ...string) row[S] {
		return num(name, name, unit, meaning, source, get, aliases...)
	}
	optIn := func(r row[S]) row[S] {
		r.OptIn = true
		return r
	}
	last := func(get func(*S) Value) func(*S) Value {
		return func(s *S) Value {
			if !s.Ended && !s.ExitCode.OK && !s.ExitSignal.OK {
				return Value{}
			}
			return get(s)
		}
	}
	const netDev, fdinfo = "/proc/PID/net/dev", "/proc/PID/fdinfo"
	const stat, pidIO, status, smaps, workdir = "/proc/PID/stat", "/proc/PID/io", "/proc/PID/status", "/proc/PID/smaps_rollup", "statfs of the work directory"
	rows := []row[S]{
		same("up", "", "1 if a process of the service runs, else 0; of services only", "/proc/PID/cmdline, pid file", func(s *S) Value { return s.Up }),
		same("restarts", "count", "restarts of the service that were seen; of services only", "/proc/PID/cmdline, pid file", func(s *S) Value { return s.Restarts }),
		same("run_time", "s", "wall time since the job's root process started, or since a start that was given", stat, func(s *S) Value { return s.RunTime }),
		same("cpu_time", "s", "CPU time, user and system, of every process the job ever had", "process CPU clocks, "+stat+", cgroup", func(s *S) Value { return s.CPUTime }),
		same("cpu_usage", "%", "cpu_time / run_time; 100 is one CPU", "", func(s *S) Value { return s.CPUUsage }),
		same("instant_cpu_usage", "%", "same since the last report", "", func(s *S) Value { return s.InstantCPUUsage }),
		same("cpu_efficiency", "%", "cpu_usage / number of CPUs the job was given", "", func(s *S) Value {
			if !s.NumCPUs.OK || s.NumCPUs.V <= 0 {
				return Value{}
			}
			return s.CPUUsage.Scaled(1 / s.NumCPUs.V)
		}),
		same("virtualmem", "KB", "virtual memory, sum over the processes", stat, func(s *S) Value { return s.VirtualMem }),
		same("rss", "KB", "resident memory, sum over the processes", status, func(s *S) Value { return s.RSS }),
		optIn(same("pss", "KB", "resident memory, shared pages in equal parts", smaps, func(s *S) Value { return s.PSS })),
		optIn(same("swappss", "KB", "swapped memory, shared pages in equal parts", smaps, func(s *S) Value { return s.SwapPSS })),
		same("mem_usage", "%", "rss / memory of the host", status+", /proc/meminfo", func(s *S) Value { return s.MemUsage }),
		same("open_files", "count", "open file descriptors", "/proc/PID/fd", func(s *S) Value { return s.OpenFiles }),
		same("processes", "count", "processes", "/proc", func(s *S) Value { return s.Processes }, "total_processes"),
		same("threads", "count", "threads", stat, func(s *S) Value { return s.Threads }, "total_threads"),
		same("page_faults_min", "count", "page faults without I/O, exited children included", stat, func(s *S) Value { return s.PageFaultsMin }),
		same("page_faults_maj", "count", "page faults with I/O, exited children included", stat, func(s *S) Value { return s.PageFaultsMaj }),
		num("context_switches", "CS_voluntary_total", "count", "context switches: the thread had to wait", status, func(s *S) Value { return s.CSVoluntary }),
		num("context_switches", "CS_nonvoluntary_total", "count", "context switches: the thread's time was up", status, func(s *S) Value { return s.CSNonvoluntary }),
		num("context_switches", "CS_rate_voluntary", "1/s", "same since the last report", status, func(s *S) Value { return s.CSRateVoluntary }),
		num("context_switches", "CS_rate_nonvoluntary", "1/s", "same since the last report", status, func(s *S) Value { return s.CSRateNonvoluntary }),
		num("io", "read_bytes", "bytes", "read from storage", pidIO, func(s *S) Value { return s.ReadBytes }),
		num("io", "write_bytes", "bytes", "written to storage", pidIO, func(s *S) Value { return s.WriteBytes }),
		num("io", "rchar", "bytes", "read by system calls", pidIO, func(s *S) Value { return s.RChar }),
		num("io", "wchar", "bytes", "written by system calls", pidIO, func(s *S) Value { return s.WChar }),
		optIn(num("network", "rx_bytes", "bytes", "received in the job's network namespace since the first sample", netDev, func(s *S) Value { return s.NetRxBytes })),
		optIn(num("network", "tx_bytes", "bytes", "sent in it", netDev, func(s *S) Value { return s.NetTxBytes })),
		optIn(num("network", "rx_packets", "count", "packets received in it", netDev, func(s *S) Value { return s.NetRxPackets })),
		optIn(num("network", "tx_packets", "count", "packets sent in it", netDev, func(s *S) Value { return s.NetTxPackets })),
		optIn(num("network", "net_shared", "", "1 if others use it, too: then it is the traffic of the host or container; else 0", "/proc/PID/ns/net", func(s *S) Value { return s.NetShared })),
		num("gpu", "gpu_time", "s", "busy time of all engines of GPUs; of jobs that use one", fdinfo, func(s *S) Value { return s.GPUTime }),
		num("gpu", "gpu_mem", "KB", "resident memory of GPUs", fdinfo, func(s *S) Value { return s.GPUMem }),
		num("gpu", "gpus", "count", "GPUs that the job has used", fdinfo, func(s *S) Value { return s.GPUs }),
		same("workdir_size", "MB", "space that the files of the work directory occupy", "a walk through it", func(s *S) Value { return s.WorkDirMB }),
		same("disk_total", "MB", "size of the work directory's file system", workdir, func(s *S) Value { return s.DiskTotal }),
		same("disk_used", "MB", "used space of it", workdir, func(s *S) Value { return s.DiskUsed }),
		same("disk_free", "MB", "free space of it", workdir, func(s *S) Value { return s.DiskFree }),
		same("disk_usage", "%", "disk_used / (disk_used + disk_free)", workdir, func(s *S) Value { return s.DiskUsage }),
		num("cgroup", "cgroup_mem", "KB", "memory of the job's own cgroup, page cache included", "memory.current", func(s *S) Value { return s.CgroupMem }),
		num("cgroup", "cgroup_mem_peak", "KB", "highest cgroup_mem", "memory.peak", func(s *S) Value { return s.CgroupMemPeak }),
		num("cgroup", "cgroup_mem_anon", "KB", "anonymous memory: not the cache of files", "memory.stat anon", func(s *S) Value { return s.CgroupMemAnon }),
		num("cgroup", "cgroup_cpu_throttled", "s", "time in which its CPU quota was used up", "cpu.stat", func(s *S) Value { return s.CgroupThrottled }),
		num("cgroup", "cgroup_oom_kill", "count", "processes killed because memory was short", "memory.events", func(s *S) Value { return s.CgroupOOMKills }),
		num("cgroup", "cgroup_procs", "count", "processes in it", "cgroup.procs", func(s *S) Value { return s.CgroupProcs }),
	}
	for _, f := range [...]struct {
		name, unit string
		get        func(*Factors) Value
	}{
		{"ksi2k", "kSI2k·s", func(f *Factors) Value { return f.KSI2K }},
		{"db12", "DB12·s", func(f *Factors) Value { return f.DB12 }},
		{"hep06", "HS06·s", func(f *Factors) Value { return f.HEP06 }},
		{"hs23", "HS23·s", func(f *Factors) Value { return f.HS23 }},
	} {
		rows = append(rows,
			same("cpu_"+f.name, f.unit, "cpu_time times the benchmark, if set", "configuration", func(s *S) Value { return s.CPUTime.times(f.get(&s.Factors)) }),
			same("run_"+f.name, f.unit, "run_time times the benchmark, if set", "configuration", func(s *S) Value { return s.RunTime.times(f.get(&s.Factors)) }))
	}
	return append(rows,
		num("exit", "exit_code", "", "exit code of the root process; in the last report", "wait4", func(s *S) Value { return s.ExitCode }),
		num("exit", "exit_signal", "", "signal that ended it, instead of exit_code; in the last report", "wait4", func(s *S) Value { return s.ExitSignal }),
		num("exit", "max_rss", "KB", "highest rss of the job, or of one process; in the last report", status+", wait4", last(func(s *S) Value { return s.MaxRSS })),
		num("exit", "max_pss", "KB", "highest pss, if that is chosen; in the last report", smaps, last(func(s *S) Value { return s.MaxPSS })),
		num("exit", "max_virtualmem", "KB", "highest virtualmem; in the last report", stat, last(func(s *S) Value { return s.MaxVirtualMem })),
		num("exit", "max_open_files", "count", "highest open_files; in the last report", "/proc/PID/fd", last(func(s *S) Value { return s.MaxOpenFiles })),
		num("exit", "max_processes", "count", "highest processes; in the last report", "/proc", last(func(s *S) Value { return s.MaxProcesses })),
		num("exit", "max_threads", "count", "highest threads; in the last report", stat, last(func(s *S) Value { return s.MaxThreads })),
	)
})
