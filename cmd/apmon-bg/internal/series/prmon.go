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
}

// CreatePrmonText creates a table as prmon 3 writes it, or replaces one. See Create for
// maxLines. Without pss, that column is missing.
func CreatePrmonText(path string, maxLines int, pss bool) (*PrmonText, error) {
	p := &PrmonText{File: File{path: path, columns: prmonColumns(), max: maxLines}}
	if !pss {
		p.columns = slices.DeleteFunc(p.columns, func(c column) bool { return c.name == "pss" })
	}
	return p, p.create()
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
// difference of two times. The line of a job that has ended has the levels of the last
// sample before that, since prmon's format has no unknown values.
func (p *PrmonText) Write(s *procinfo.JobSample) error {
	if !s.Ended {
		p.levels = *s
	} else {
		merged, l := *s, &p.levels
		merged.PSS, merged.RSS, merged.Swap, merged.VirtualMem, merged.Processes, merged.Threads = l.PSS, l.RSS, l.Swap, l.VirtualMem, l.Processes, l.Threads
		s = &merged
	}
	second := int64(math.Round(unixTime(s).V))
	if second <= p.last {
		return nil
	}
	p.last = second
	return p.File.Write(s)
}

// PrmonJSON returns the summary of a job as prmon 3 writes it: prmon.json. Unknown values
// are missing, as those of monitors that are switched off are in prmon.
func PrmonJSON(r *jobrecord.Record) ([]byte, error) {
	highest, mean, cpu, memory := map[string]procinfo.Value{}, map[string]procinfo.Value{}, map[string]any{}, map[string]any{}
	set := func(in map[string]procinfo.Value, name string, v procinfo.Value, decimals int) {
		if v.OK {
			in[name] = v.Rounded(decimals)
		}
	}
	for name, l := range map[string]*jobrecord.Level{
		"nprocs": &r.Levels.Processes, "nthreads": &r.Levels.Threads, "pss": &r.Levels.PSS, "rss": &r.Levels.RSS, "swap": &r.Levels.Swap, "vmem": &r.Levels.VMem,
	} {
		set(highest, name, l.Max, 0)
		set(mean, name, l.Avg, 0)
	}
	for name, t := range map[string]*jobrecord.Total{
		"rchar": &r.Totals.RChar, "wchar": &r.Totals.WChar, "read_bytes": &r.Totals.Read, "write_bytes": &r.Totals.Written,
		"rx_bytes": &r.Totals.Rx, "rx_packets": &r.Totals.RxPackets, "tx_bytes": &r.Totals.Tx, "tx_packets": &r.Totals.TxPackets,
	} {
		set(highest, name, t.Total, 0)
		set(mean, name, t.Rate, 0)
	}
	set(highest, "utime", r.CPU.User, 2)
	set(highest, "stime", r.CPU.System, 2)
	set(highest, "wtime", r.Job.RunTime, 2)
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
		"prmon": map[string]any{"Version": prmonVersion},
	}, "", "    ")
	return append(b, '\n'), err
}
