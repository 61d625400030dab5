package metrics

import (
	"runtime"
	runtimemetrics "runtime/metrics"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// Process holds values of this process from the kernel and from Go's runtime. Unknown
// values are not sent.
type Process struct {
	Uptime     procinfo.Value // s
	RSS        procinfo.Value // bytes
	VSZ        procinfo.Value // bytes
	UserTime   procinfo.Value // s
	SystemTime procinfo.Value // s
	Threads    procinfo.Value
	OpenFiles  procinfo.Value
	Goroutines procinfo.Value
	Heap       procinfo.Value // bytes of objects, including those not yet swept
}

// started is about the start of the process, for systems that do not report it.
var started = time.Now()

// ReadProcess reads the values of this process. Systems other than Linux have only Uptime
// (since this package was loaded), Goroutines, Heap and, with Go 1.26, Threads (those of
// Go).
func ReadProcess() Process {
	p := Process{Uptime: procinfo.Known(time.Since(started).Seconds())}
	p.Goroutines = procinfo.Known(float64(runtime.NumGoroutine()))
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/threads/total:threads"}}
	runtimemetrics.Read(samples)
	for i, to := range []*procinfo.Value{&p.Heap, &p.Threads} {
		if v := samples[i].Value; v.Kind() == runtimemetrics.KindUint64 {
			*to = procinfo.Known(float64(v.Uint64()))
		}
	}
	u := procinfo.ReadUsage()
	for _, v := range [...]struct {
		to   *procinfo.Value
		from procinfo.Value
	}{
		{&p.Uptime, u.Uptime}, {&p.RSS, u.RSS}, {&p.VSZ, u.VSZ}, {&p.UserTime, u.UserTime},
		{&p.SystemTime, u.SystemTime}, {&p.Threads, u.Threads}, {&p.OpenFiles, u.OpenFiles},
	} {
		if v.from.OK {
			*v.to = v.from
		}
	}
	return p
}

// processRow is a line of the table of the process.
type processRow struct {
	name, source string
	Row
	get   func(*Process) procinfo.Value
	scale float64
}

// processRows is the table of the values that [Registry.AddRuntime] adds; KB is KiB.
var processRows = []processRow{
	{"process_uptime", "/proc/self/stat", Row{"", "s", "time since the process started", false}, func(p *Process) procinfo.Value { return p.Uptime }, 1},
	{"process_rss", "/proc/self/statm", Row{"", "KB", "resident memory", false}, func(p *Process) procinfo.Value { return p.RSS }, 1. / 1024},
	{"process_vsz", "/proc/self/stat", Row{"", "KB", "virtual memory", false}, func(p *Process) procinfo.Value { return p.VSZ }, 1. / 1024},
	{"process_user_time", "/proc/self/stat", Row{"", "s", "CPU time in user mode", true}, func(p *Process) procinfo.Value { return p.UserTime }, 1},
	{"process_system_time", "/proc/self/stat", Row{"", "s", "CPU time in the kernel", true}, func(p *Process) procinfo.Value { return p.SystemTime }, 1},
	{"process_threads", "/proc/self/stat", Row{"", "count", "threads", false}, func(p *Process) procinfo.Value { return p.Threads }, 1},
	{"process_open_files", "/proc/self/fd", Row{"", "count", "open file descriptors", false}, func(p *Process) procinfo.Value { return p.OpenFiles }, 1},
	{"go_goroutines", "runtime", Row{"", "count", "goroutines", false}, func(p *Process) procinfo.Value { return p.Goroutines }, 1},
	{"go_heap", "runtime/metrics", Row{"", "KB", "objects on the heap, including those not yet swept", false}, func(p *Process) procinfo.Value { return p.Heap }, 1. / 1024},
}

// append appends the known values, except those whose name another metric has.
func (p *Process) append(values []Value, sends func(param string) string) []Value {
	for i := range processRows {
		r := &processRows[i]
		if v := r.get(p); v.OK && sends(r.name) == processOwner {
			values = append(values, Value{Param: xdr.Float(r.name, v.V*r.scale), Metric: r.name, Kind: KindProcess, Row: r.Row})
		}
	}
	return values
}
