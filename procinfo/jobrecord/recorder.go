package jobrecord

import (
	"slices"
	"sync"
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// A Recorder takes the samples of a job. It keeps no sample but the last, so it needs the
// same memory for a job of weeks. It is safe for concurrent use.
type Recorder struct {
	mu       sync.Mutex
	tracks   []track // as Quantities
	first    time.Time
	began    procinfo.Value // run time at the first sample
	last     procinfo.JobSample
	peak     procinfo.Value // of the cgroup
	shared   procinfo.Value
	longest  time.Duration
	failures []string
}

// track is what is known of a quantity.
type track struct {
	max, last  procinfo.Value
	from, till time.Time // first and last known value
	area       float64   // integral over the time between them
}

// maxFailures bounds the errors of a record.
const maxFailures = 8

// Add takes a sample, and the error of taking it. A sample of a job that has ended changes
// no level, and neither does one of processes that have given up their memory.
func (r *Recorder) Add(s procinfo.JobSample, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && len(r.failures) < maxFailures && !slices.Contains(r.failures, err.Error()) {
		r.failures = append(r.failures, err.Error())
	}
	if s.At.IsZero() {
		return // the sample failed
	}
	if r.tracks == nil {
		r.tracks = make([]track, len(Quantities))
		r.first, r.began = s.At, s.RunTime
	} else if d := s.At.Sub(r.last.At); d > r.longest && !r.last.Ended {
		r.longest = d
	}
	dead := s.Ended || s.RSS.OK && s.RSS.V == 0
	for i := range Quantities {
		q, t := &Quantities[i], &r.tracks[i]
		if q.peak != nil {
			t.raise(q.peak(&s))
		}
		if v := q.Value(&s); v.OK && (q.IsTotal() || !dead) {
			t.add(v, s.At, q.IsTotal())
		}
	}
	if s.CgroupMemPeak.OK && s.CgroupMemPeak.V >= r.peak.V {
		r.peak = s.CgroupMemPeak
	}
	if s.NetShared.OK {
		r.shared = s.NetShared
	}
	if !s.At.Before(r.last.At) { // reports may take samples at the same time
		r.last = s
	}
}

func (t *track) raise(v procinfo.Value) {
	if v.OK && (!t.max.OK || v.V > t.max.V) {
		t.max = v
	}
}

// add takes a value. Between two values a level changes linearly.
func (t *track) add(v procinfo.Value, at time.Time, total bool) {
	switch {
	case !t.last.OK:
		t.from, t.till, t.last = at, at, v
	case at.After(t.till):
		t.area += (t.last.V + v.V) / 2 * at.Sub(t.till).Seconds()
		t.till, t.last = at, v
	case total && v.V > t.last.V:
		t.last = v
	}
	t.raise(v)
}

// avg returns the mean, weighted by time.
func (t *track) avg() procinfo.Value {
	if d := t.till.Sub(t.from).Seconds(); d > 0 {
		return procinfo.Known(t.area / d)
	}
	return t.last
}

// Record returns the record of the job so far. The caller adds what it knows of the job:
// its names, its end, the resources that it was given, and the hardware.
func (r *Recorder) Record() *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := &Record{Schema: Schema, Version: Version}
	rec.Job.Command = []string{}
	s := &r.last
	rec.Measured = Measured{
		Samples: s.Samples, ProcessesTotal: s.ProcessesTotal, FirstSample: r.began.Rounded(3),
		Means: map[string]string{}, Unknown: map[string]string{}, Errors: append([]string{}, r.failures...),
	}
	if r.longest > 0 {
		rec.Measured.LongestInterval = procinfo.Known(r.longest.Seconds()).Rounded(3)
	}
	if s.RunTime.OK {
		rec.Job.RunTime = s.RunTime.Rounded(3)
		rec.Job.Start = Time{s.At.Add(-time.Duration(s.RunTime.V * float64(time.Second)))}
	}
	if s.Ended && s.RunTime.OK {
		rec.Job.End = Time{rec.Job.Start.Add(time.Duration(s.RunTime.V * float64(time.Second)))}
	}
	rec.Job.ExitCode, rec.Job.Signal = s.ExitCode, s.ExitSignal
	rec.CPU = CPU{Total: s.CPUTime.Rounded(3), User: s.CPUUser.Rounded(3), LowerBound: s.LowerBound}
	if rec.CPU.Total.OK && rec.CPU.User.OK {
		rec.CPU.System = procinfo.Known(max(0, rec.CPU.Total.V-rec.CPU.User.V)).Rounded(3) // so that the parts add up
	}
	if s.CPUTime.OK {
		rec.Measured.Means["cpu"] = s.CPUSource
	} else {
		rec.Measured.Unknown["cpu"] = noSample
	}
	rec.Levels.CgroupMemoryPeak = r.peak.Rounded(0)
	if r.shared.OK {
		shared := r.shared.V != 0
		rec.Totals.NetShared = &shared
	}
	for i := range Quantities {
		var t track
		if r.tracks != nil {
			t = r.tracks[i]
		}
		Quantities[i].fill(rec, &t, s.RunTime)
	}
	rec.Resources.setUsed(rec)
	return rec
}

// fill fills in a quantity of a record.
func (q *Quantity) fill(rec *Record, t *track, run procinfo.Value) {
	known := t.last.OK
	if q.IsTotal() {
		to := q.total(rec)
		if to.Total = t.last.Rounded(q.Decimals); known && run.OK && run.V > 0 {
			to.Rate = procinfo.Known(t.last.V / run.V).Rounded(q.Decimals + 1)
		}
	} else {
		*q.level(rec) = Level{t.max.Rounded(q.Decimals), t.avg().Rounded(q.Decimals + avgDecimals(q)), t.last.Rounded(q.Decimals)}
		known = known || t.max.OK
	}
	if known {
		rec.Measured.Means[q.Name] = q.Means
	}
	if !t.last.OK {
		why := q.why
		if known {
			why = noSample // there is only a peak
		}
		rec.Measured.Unknown[q.Name] = why
	}
}

// avgDecimals returns how many decimals more a mean has: numbers of processes have two,
// KiB none.
func avgDecimals(q *Quantity) int {
	if len(q.Name) > 3 && q.Name[len(q.Name)-3:] == "_kb" {
		return 0
	}
	return 2
}
