package series

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// prmonVersion is the version of prmon that has this format.
const prmonVersion = "3.3.0"

// A PrmonText is the table of prmon: prmon.txt.
type PrmonText struct {
	File
	last   int64              // second of the last line
	levels procinfo.JobSample // the last sample of the living job
	gpu    procinfo.JobSample // the sample of the last line
}

// CreatePrmonText creates a table as prmon 3 writes it, or replaces one. See Create for
// maxLines. Without pss, that column is missing. On a host with a GPU, gpu adds the columns
// of GPUs that are known.
func CreatePrmonText(path string, maxLines int, pss, gpu bool) (*PrmonText, error) {
	p := &PrmonText{File: File{path: path, columns: prmonColumns(), max: maxLines}}
	if !pss {
		p.columns = slices.DeleteFunc(p.columns, func(c column) bool { return c.name == "pss" })
	}
	if gpu {
		p.columns = append(p.columns,
			column{name: "ngpus", whole: true, value: func(s *procinfo.JobSample) procinfo.Value { return s.GPUs }},
			column{name: "gpufbmem", whole: true, value: func(s *procinfo.JobSample) procinfo.Value { return s.GPUMem }},
			column{name: "gpusmpct", whole: true, value: p.busy})
	}
	return p, p.create()
}

// busy returns the percentage of the time since the last line in which the engines of GPUs
// were busy.
func (p *PrmonText) busy(s *procinfo.JobSample) procinfo.Value {
	d := s.At.Sub(p.gpu.At).Seconds()
	return procinfo.KnownIf(100*max(0, s.GPUTime.V-p.gpu.GPUTime.V)/d, s.GPUTime.OK && p.gpu.GPUTime.OK && d > 0)
}

// prmonColumns returns prmon's columns in its order. All are whole numbers except the
// times, which have two decimals.
func prmonColumns() []column {
	type S = procinfo.JobSample
	whole := func(name string, get func(*S) procinfo.Value) column {
		return column{name: name, value: get, whole: true}
	}
	seconds := func(name string, get func(*S) procinfo.Value) column {
		return column{name: name, value: get, whole: true, decimals: 2}
	}
	return []column{
		whole("Time", unixTime),
		seconds("wtime", func(s *S) procinfo.Value { return s.RunTime }),
		whole("pss", func(s *S) procinfo.Value { return s.PSS }),
		whole("rss", func(s *S) procinfo.Value { return s.RSS }),
		whole("swap", func(s *S) procinfo.Value { return s.Swap }),
		whole("vmem", func(s *S) procinfo.Value { return s.VirtualMem }),
		whole("rchar", func(s *S) procinfo.Value { return s.RChar }),
		whole("read_bytes", func(s *S) procinfo.Value { return s.ReadBytes }),
		whole("wchar", func(s *S) procinfo.Value { return s.WChar }),
		whole("write_bytes", func(s *S) procinfo.Value { return s.WriteBytes }),
		whole("rx_bytes", func(s *S) procinfo.Value { return s.NetRxBytes }),
		whole("rx_packets", func(s *S) procinfo.Value { return s.NetRxPackets }),
		whole("tx_bytes", func(s *S) procinfo.Value { return s.NetTxBytes }),
		whole("tx_packets", func(s *S) procinfo.Value { return s.NetTxPackets }),
		seconds("stime", func(s *S) procinfo.Value { return s.CPUSystem }),
		seconds("utime", func(s *S) procinfo.Value { return s.CPUUser }),
		whole("nprocs", func(s *S) procinfo.Value { return s.Processes }),
		whole("nthreads", func(s *S) procinfo.Value { return s.Threads }),
	}
}

// Write writes a line. There is at most one for each second: readers divide by the
// difference of two times. The line of a job that has ended replaces that of the same
// second, and has the levels of the last sample before it, since prmon's format has no
// unknown values.
func (p *PrmonText) Write(s *procinfo.JobSample) error {
	if !s.Ended {
		p.levels = *s
	} else {
		merged, l := *s, &p.levels
		merged.PSS, merged.RSS, merged.Swap, merged.VirtualMem, merged.Processes, merged.Threads = l.PSS, l.RSS, l.Swap, l.VirtualMem, l.Processes, l.Threads
		merged.GPUMem = l.GPUMem
		s = &merged
	}
	second := int64(math.Round(unixTime(s).V))
	if second <= p.last {
		if !s.Ended {
			return nil
		}
		p.File.back() // the totals of the job are in its last line
	}
	p.last = second
	err := p.File.Write(s)
	p.gpu = *s
	return err
}

// PrmonJSON returns the summary of a job as prmon 3 writes it with --units: prmon.json.
// Unknown values are missing, as those of monitors that are switched off are in prmon.
func PrmonJSON(r *jobrecord.Record) ([]byte, error) {
	type values map[string]procinfo.Value
	highest, mean, units := values{}, values{}, map[string]map[string]string{"Max": {}, "Avg": {}}
	set := func(part string, in values, name string, v procinfo.Value, decimals int, unit string) {
		if v.OK {
			in[name], units[part][name] = v.Rounded(decimals), unit
		}
	}
	level := func(name, unit string, l *jobrecord.Level) {
		set("Max", highest, name, l.Max, 0, unit)
		set("Avg", mean, name, l.Avg, 0, unit)
	}
	total := func(name, unit, rate string, t *jobrecord.Total) {
		set("Max", highest, name, t.Total, 0, unit)
		set("Avg", mean, name, t.Rate, 0, rate)
	}
	l, t := &r.Levels, &r.Totals
	level("nprocs", "1", &l.Processes)
	level("nthreads", "1", &l.Threads)
	level("pss", "kB", &l.PSS)
	level("rss", "kB", &l.RSS)
	level("swap", "kB", &l.Swap)
	level("vmem", "kB", &l.VMem)
	level("ngpus", "1", &l.GPUs)
	level("gpufbmem", "kB", &l.GPUMemory)
	total("rchar", "B", "B/s", &t.RChar)
	total("wchar", "B", "B/s", &t.WChar)
	total("read_bytes", "B", "B/s", &t.Read)
	total("write_bytes", "B", "B/s", &t.Written)
	total("rx_bytes", "B", "B/s", &t.Rx)
	total("tx_bytes", "B", "B/s", &t.Tx)
	total("rx_packets", "1", "1/s", &t.RxPackets)
	total("tx_packets", "1", "1/s", &t.TxPackets)
	set("Avg", mean, "gpusmpct", t.GPU.Rate.Scaled(100), 0, "%")
	set("Max", highest, "utime", r.CPU.User, 2, "s")
	set("Max", highest, "stime", r.CPU.System, 2, "s")
	set("Max", highest, "wtime", r.Job.RunTime, 2, "s")
	cpu, memory := map[string]any{}, map[string]any{}
	h := &r.Hardware
	one := procinfo.Known(1)
	for _, x := range []struct {
		in    map[string]any
		name  string
		n, of procinfo.Value
	}{{cpu, "CPUs", h.CPUs, one}, {cpu, "Sockets", h.Sockets, one}, {cpu, "CoresPerSocket", h.Cores, h.Sockets}, {cpu, "ThreadsPerCore", h.CPUs, h.Cores}, {memory, "MemTotal", h.Memory, one}} {
		if x.n.OK && x.of.OK && x.of.V > 0 {
			x.in[x.name] = procinfo.Known(x.n.V / x.of.V).Rounded(0)
		}
	}
	if h.CPUModel != "" {
		cpu["ModelName"] = h.CPUModel
	}
	b, err := json.MarshalIndent(map[string]any{
		"Avg": mean, "Max": highest,
		"HW":    map[string]any{"cpu": cpu, "mem": memory},
		"Units": units,
		"prmon": map[string]any{"Version": prmonVersion},
	}, "", "    ")
	return append(b, '\n'), err
}
