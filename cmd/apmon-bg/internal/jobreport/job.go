// Package jobreport shows the records and time series of jobs, as a page, as a graph and as
// text. It reads the files that apmon-bg exec writes, and those of prmon.
package jobreport

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// MaxJobs is how many jobs a report compares at most.
const MaxJobs = 40

// Job is a job, as its files describe it.
type Job struct {
	Label  string // differs between the jobs of a report
	record *jobrecord.Record
	table  *table // nil without a time series
}

// Read reads the files of jobs. A record and a time series belong to the same job if they
// have the same start and run time; otherwise each is a job of its own. An error names the
// file and the line. A warning describes a file that is used although it is incomplete.
func Read(paths []string) (jobs []*Job, warnings []string, err error) {
	var files []*file
	for _, path := range paths {
		f, warning, err := readFile(path)
		if err != nil {
			return nil, nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
		files = append(files, f)
	}
	for _, p := range pairs(files) {
		j := &Job{}
		for _, f := range p {
			if f.record != nil {
				j.record = f.record
			} else {
				j.table = f.table
			}
		}
		if j.record == nil {
			j.record = j.table.record()
		} else if j.table != nil {
			fill(j.record, j.table.record())
		}
		jobs = append(jobs, j)
		j.Label = name(j.record, filepath.Base(p[0].path))
	}
	if len(jobs) > MaxJobs {
		return nil, nil, fmt.Errorf("%d jobs; at most %d can be compared", len(jobs), MaxJobs)
	}
	number := map[string]int{}
	for _, j := range jobs {
		if number[j.Label]++; number[j.Label] > 1 {
			j.Label += fmt.Sprintf(" (%d)", number[j.Label])
		}
	}
	return jobs, warnings, nil
}

// pairs returns the files of each job, in the order of the first of them.
func pairs(files []*file) (jobs [][]*file) {
	type pair struct {
		record, series int
		distance       float64
	}
	var all []pair
	for i, r := range files {
		for k, s := range files {
			if r.record == nil || s.table == nil {
				continue
			}
			if d := distance(r.record, s.table); d < math.Inf(1) {
				all = append(all, pair{i, k, d + 1e-6*math.Abs(float64(i-k))}) // equal ones: the nearest argument
			}
		}
	}
	slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(a.distance, b.distance) })
	partner := map[int]int{}
	for _, p := range all {
		_, a := partner[p.record]
		_, b := partner[p.series]
		if !a && !b {
			partner[p.record], partner[p.series] = p.series, p.record
		}
	}
	for i, f := range files {
		switch k, ok := partner[i]; {
		case !ok:
			jobs = append(jobs, []*file{f})
		case k > i:
			jobs = append(jobs, []*file{f, files[k]})
		}
	}
	return jobs
}

// distance returns by how many seconds the start and the end of a record and of a series
// differ, +Inf if they are not of the same job. A series may end early, when its disk was
// full. prmon's record has no start.
func distance(r *jobrecord.Record, t *table) float64 {
	s := t.record()
	d := r.Job.RunTime.V - s.Job.RunTime.V
	if r.Job.Start.IsZero() {
		if math.Abs(d) > 2 {
			return math.Inf(1)
		}
		return math.Abs(d)
	}
	start := math.Abs(r.Job.Start.Sub(s.Job.Start.Time).Seconds())
	if start > 2 || d < -2 {
		return math.Inf(1)
	}
	return start + math.Abs(d)/1000
}

// name returns the name of a job: its id, else its command, else that of the file.
func name(r *jobrecord.Record, file string) string {
	command := ""
	if len(r.Job.Command) > 0 {
		command = filepath.Base(r.Job.Command[0])
	}
	return clean(cmp.Or(string(r.Job.BatchID), string(r.Job.Node), command, file), 60)
}

// clean returns a text in one line with at most n characters, which does not steer a
// terminal.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 4*n+4)], "\ufffd"))
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// last returns the last known value of a column.
func (t *table) last(name string) procinfo.Value {
	for _, v := range slices.Backward(t.columns[name]) {
		if !math.IsNaN(v) {
			return procinfo.Known(v)
		}
	}
	return procinfo.Value{}
}

// has reports whether a value of a column is known, and not 0 unless zero.
func (t *table) has(name string, zero bool) bool {
	return t != nil && slices.ContainsFunc(t.columns[name], func(v float64) bool { return !math.IsNaN(v) && (zero || v != 0) })
}

// record returns what a time series says about its job.
func (t *table) record() *jobrecord.Record {
	r := &jobrecord.Record{}
	run := t.columns["run_time_s"]
	seconds := t.columns["time_s"][0] - run[0]
	r.Job.Start = jobrecord.Time{Time: time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()}
	r.Job.RunTime = t.last("run_time_s")
	r.CPU.User, r.CPU.System = t.last("cpu_user_s"), t.last("cpu_system_s")
	r.CPU.Total = procinfo.KnownIf(r.CPU.User.V+r.CPU.System.V, r.CPU.User.OK && r.CPU.System.OK)
	for i := range jobrecord.Quantities {
		q := &jobrecord.Quantities[i]
		if to := q.TotalOf(r); to != nil {
			if to.Total = t.last(q.Name); to.Total.OK && r.Job.RunTime.V > 0 {
				to.Rate = procinfo.Known(to.Total.V / r.Job.RunTime.V)
			}
			continue
		}
		to := q.LevelOf(r)
		to.Last = t.last(q.Name)
		to.Max, to.Avg = peakAndMean(run, t.columns[q.Name])
	}
	r.SetResources(jobrecord.Amounts{}, jobrecord.Amounts{})
	return r
}

// peakAndMean returns the greatest of the values, and their mean weighted by time: between
// two values the line is straight.
func peakAndMean(times, values []float64) (peak, mean procinfo.Value) {
	area, span, before := 0., 0., -1
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if !peak.OK || v > peak.V {
			peak = procinfo.Known(v)
		}
		if before >= 0 {
			d := times[i] - times[before]
			area, span = area+d*(v/2+values[before]/2), span+d
		}
		before = i
	}
	if span > 0 {
		return peak, procinfo.Known(area / span)
	}
	return peak, peak
}

// fill adds to a record what only its time series knows.
func fill(r, from *jobrecord.Record) {
	if r.Job.Start.IsZero() {
		r.Job.Start = from.Job.Start
	}
	for i := range jobrecord.Quantities {
		q := &jobrecord.Quantities[i]
		if to := q.LevelOf(r); to != nil && !to.Last.OK && !to.Max.OK {
			*to = *q.LevelOf(from)
		}
	}
}

// readPrmonJSON reads prmon's summary into a record.
func readPrmonJSON(b []byte, r *jobrecord.Record) error {
	var p struct {
		Max, Avg map[string]procinfo.Value
		HW       struct {
			CPU struct {
				ModelName                     string
				CPUs, CoresPerSocket, Sockets procinfo.Value
			} `json:"cpu"`
			Mem struct{ MemTotal procinfo.Value } `json:"mem"`
		}
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	own := func(m map[string]procinfo.Value) map[string]procinfo.Value {
		to := map[string]procinfo.Value{}
		for name, v := range m {
			to[columnName(name)] = v
		}
		return to
	}
	most, mean := own(p.Max), own(p.Avg)
	r.Job.RunTime, r.CPU.User, r.CPU.System = most["run_time_s"], most["cpu_user_s"], most["cpu_system_s"]
	r.CPU.Total = procinfo.KnownIf(r.CPU.User.V+r.CPU.System.V, r.CPU.User.OK && r.CPU.System.OK)
	for i := range jobrecord.Quantities {
		q := &jobrecord.Quantities[i]
		if to := q.LevelOf(r); to != nil {
			to.Max, to.Avg = most[q.Name], mean[q.Name]
		} else {
			to := q.TotalOf(r)
			to.Total, to.Rate = most[q.Name], mean[q.Name]
		}
	}
	h := &p.HW
	r.Hardware = jobrecord.Hardware{CPUModel: jobrecord.Text(h.CPU.ModelName), CPUs: h.CPU.CPUs, Sockets: h.CPU.Sockets, Memory: h.Mem.MemTotal}
	if c := h.CPU.CoresPerSocket; c.OK && h.CPU.Sockets.OK {
		r.Hardware.Cores = procinfo.Known(c.V * h.CPU.Sockets.V)
	}
	r.SetResources(jobrecord.Amounts{}, jobrecord.Amounts{})
	return nil
}
