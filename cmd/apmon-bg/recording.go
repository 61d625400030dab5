package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/series"
	"github.com/apmon-go/apmon/cmd/internal/units"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// recording writes the record of a job: its files, while it runs and at its end. A file
// that cannot be written is logged once and left.
type recording struct {
	summary, series, prmonText, prmonJSON string // paths, empty for none

	interval time.Duration // between the lines of a series
	maxLines int
	children int               // that a series has at a time
	given    jobrecord.Amounts // by flags
	batch    jobrecord.Batch
	switches map[string]bool // of the job
	progress *progress       // nil without

	log           *slog.Logger
	mu            sync.Mutex // guards the files
	table         *series.File
	prmon         *series.PrmonText
	began         time.Time
	due           time.Duration // the next line, since began
	bad           bool          // prmon's JSON cannot be written
	created, over bool
}

// Defaults and limits of the time series.
const (
	seriesInterval    = 10 * time.Second
	minSeriesInterval = 100 * time.Millisecond
	seriesLines       = 4000
)

// read reads the flags. Its errors are wrong usage.
func (r *recording) read(cc *cli.Context) error {
	r.summary, r.series, r.prmonText, r.prmonJSON = cc.String("summary"), cc.String("series"), cc.String("prmon-txt"), cc.String("prmon-json")
	r.interval, r.maxLines, r.switches = seriesInterval, seriesLines, map[string]bool{}
	if s := cc.String("series-interval"); s != "" {
		d, err := conf.ParseDuration(s)
		if err != nil || d < minSeriesInterval {
			return fmt.Errorf("--series-interval %q is not a time of at least %v, such as 1s or 2m", s, minSeriesInterval)
		}
		r.interval = d
	}
	if s := cc.String("series-max"); s != "" {
		if _, err := fmt.Sscanf(s+"\n", "%d\n", &r.maxLines); err != nil || r.maxLines != 0 && r.maxLines < series.MinLines {
			return fmt.Errorf("--series-max %q is neither 0 nor a number of at least %d", s, series.MinLines)
		}
	}
	if s := cc.String("series-children"); s != "" {
		n, err := strconv.Atoi(s)
		if r.children = n; err != nil || n < 0 || n > series.MaxChildren {
			return fmt.Errorf("--series-children %q is not a number up to %d", s, series.MaxChildren)
		}
	}
	if n := cc.Float64("cpus"); n > 0 {
		r.given.CPUs = jobrecord.Amount{Value: procinfo.Known(n), Source: "--cpus"}
	}
	if s := cc.String("memory"); s != "" {
		var size units.Bytes
		if err := size.Set(s); err != nil || size <= 0 {
			return errors.Join(fmt.Errorf("--memory %q", s), err)
		}
		r.given.Memory = jobrecord.Amount{Value: procinfo.Known(float64(size) / 1024).Rounded(0), Source: "--memory"}
	}
	if s := cc.String("time-limit"); s != "" {
		d, err := conf.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("--time-limit %q is not a time, such as 12h", s)
		}
		r.given.Time = jobrecord.Amount{Value: procinfo.Known(d.Seconds()), Source: "--time-limit"}
	}
	if cc.Bool("pss") || r.prmonText != "" || r.prmonJSON != "" { // prmon has a column for it
		r.switches["pss"], r.switches["swappss"] = true, true
	}
	if len(r.files()) > 0 {
		r.switches["network"] = true
	}
	if err := r.checkFiles(); err != nil {
		return err
	}
	if cc.Bool("progress") {
		r.progress = newProgress()
	}
	return nil
}

// files are the paths of all files.
func (r *recording) files() (files []string) {
	for _, f := range [...]string{r.summary, r.series, r.prmonText, r.prmonJSON} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// checkFiles returns an error for files that are written while the job runs to standard
// output, and for two that are the same.
func (r *recording) checkFiles() error {
	if slices.Contains([]string{r.series, r.prmonText, r.prmonJSON}, "-") {
		return errors.New("only --summary may be -, standard output")
	}
	files := r.files()
	for i, f := range files {
		if st, err := os.Stat(f); err == nil && !st.Mode().IsRegular() {
			continue
		}
		for _, g := range files[:i] {
			if filepath.Clean(f) == filepath.Clean(g) {
				return fmt.Errorf("two flags write to the file %q", f)
			}
		}
	}
	return nil
}

// whileRunning reports whether files are written while the job runs.
func (r *recording) whileRunning() bool {
	return r.series != "" || r.prmonText != "" || r.prmonJSON != ""
}

// disabledVariable switches parameters off where a wrapper hides the flags.
const disabledVariable = "APMON_EXEC_DISABLE"

// prepare sets what the record needs to know of the job before it is followed. It returns
// an error for each unknown name in the variable.
func (r *recording) prepare(j *apmon.Job, getenv func(string) string) (errs []error) {
	for name := range strings.FieldsFuncSeq(getenv(disabledVariable), func(c rune) bool { return c == ',' || c == ' ' }) {
		name = strings.TrimPrefix(name, "job_")
		if _, ok := apmon.KnownOption("job_" + name); !ok {
			errs = append(errs, fmt.Errorf("%s: %q is not a parameter of jobs: see 'apmon-bg params'", disabledVariable, name))
			continue
		}
		if r.switches[name] = false; name == "pss" {
			r.switches["swappss"] = false
		}
	}
	j.Switches = r.switches
	if len(r.files()) > 0 {
		r.batch = jobrecord.NewBatch(getenv)
		j.Requested, j.Allocated = r.given.Or(r.batch.Requested), r.given.Or(r.batch.Allocated)
	}
	return errs
}

// open creates the files that are written while the job runs.
func (r *recording) open(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = began
	r.create()
}

// create creates the files once. The caller holds the mutex.
func (r *recording) create() {
	if r.created {
		return
	}
	r.created = true
	var err error
	if r.series != "" {
		if r.table, err = series.Create(r.series, r.maxLines, r.children); err != nil {
			r.failed("time series not written", err)
			r.table = nil
		}
	}
	if r.prmonText != "" {
		gpus, _ := filepath.Glob("/dev/dri/renderD*")
		if r.prmon, err = series.CreatePrmonText(r.prmonText, r.maxLines, r.switches["pss"], len(gpus) > 0); err != nil {
			r.failed("prmon's file not written", err)
			r.prmon = nil
		}
	}
}

func (r *recording) failed(what string, err error) {
	r.log.Warn(what, slog.String("error", err.Error()))
}

// next returns when the next sample is due, after the start of the job. Samples between
// the lines of a file find the peaks.
func (r *recording) next(elapsed time.Duration) time.Duration {
	most := sampleInterval
	if r.progress != nil {
		most = progressInterval
	}
	next := following(elapsed, most)
	if r.whileRunning() {
		next = min(next, following(elapsed, r.interval))
	}
	return next
}

// following returns the next of a row of times: 0.1, 0.3, 0.9 s and so on while they are
// below the interval, then all its multiples. Many jobs are short.
func following(elapsed, interval time.Duration) time.Duration {
	for step := 100 * time.Millisecond; step < interval; step *= 3 {
		if step > elapsed {
			return step
		}
	}
	return (elapsed/interval + 1) * interval
}

// add writes a sample of the living job if a line is due, and shows it.
func (r *recording) add(s *procinfo.JobSample, record func() *jobrecord.Record) {
	if s.RSS.OK && s.RSS.V == 0 {
		return // its processes have given up their memory: it is ending
	}
	r.progress.show(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	elapsed := s.At.Sub(r.began)
	if r.over || s.Ended || s.At.IsZero() || elapsed < r.due {
		return
	}
	r.due = following(elapsed, r.interval)
	r.line(s, record)
}

// line writes a line, and prmon's JSON. The caller holds the mutex.
func (r *recording) line(s *procinfo.JobSample, record func() *jobrecord.Record) {
	if r.table != nil {
		if err := r.table.Write(s); err != nil {
			r.failed("time series not written any more", err)
		}
	}
	if r.prmon != nil {
		if err := r.prmon.Write(s); err != nil {
			r.failed("prmon's file not written any more", err)
		}
	}
	if r.prmonJSON != "" && !r.bad {
		b, err := series.PrmonJSON(record())
		if err == nil {
			err = writeResult(r.prmonJSON, b)
		}
		if r.bad = err != nil; r.bad {
			r.failed("prmon's file not written", err)
		}
	}
}

// end writes the summary and the last lines. After it, add does nothing.
func (r *recording) end(last *procinfo.JobSample, record func() *jobrecord.Record) {
	if r.summary != "" {
		b, err := json.Marshal(record())
		if err == nil {
			err = writeResult(r.summary, append(b, '\n'))
		}
		if err != nil {
			r.failed("summary not written", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.create() // the job may have been very short
	r.line(last, record)
	r.over = true
	if r.table != nil {
		if err := r.table.Close(); err != nil {
			r.failed("time series not written to its end", err)
		}
	}
	if r.prmon != nil {
		_ = r.prmon.Close()
	}
}
