package jobreport

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/series"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// files writes the files of a job as exec does: it uses 1.5 CPUs of 4, 600 MiB of 1 GiB, and
// writes 1 MiB a second, for 100 s.
func files(t *testing.T, id string, began time.Time) (record, table, prmonText, prmonJSON string) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, id+name) }
	f, err := series.Create(path(".tsv.gz"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := series.CreatePrmonText(path(".txt"), 0, false, false)
	if err != nil {
		t.Fatal(err)
	}
	known := procinfo.Known
	var r jobrecord.Recorder
	for i := 0; i <= 100; i += 5 {
		x := float64(i)
		s := procinfo.JobSample{At: began.Add(time.Duration(i) * time.Second), RunTime: known(x), CPUTime: known(1.5 * x), CPUUser: known(x), CPUSystem: known(.5 * x), RChar: known(0), WChar: known(x * (1 << 20))}
		if s.Ended = i == 100; !s.Ended {
			s.RSS, s.Processes, s.Threads = known(600<<10), known(2), known(5)
		}
		r.Add(s, nil)
		if err := errors.Join(f.Write(&s), p.Write(&s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	rec := r.Record()
	rec.Job.Start, rec.Job.BatchID, rec.Job.Command = jobrecord.Time{Time: began}, jobrecord.Text(id), []string{"./job", "<script>alert(1)</script>"}
	rec.SetEnd(began.Add(100*time.Second), 3, 0, nil, 0)
	rec.SetResources(jobrecord.Amounts{CPUs: jobrecord.Amount{Value: known(4), Source: "--cpus"}}, jobrecord.Amounts{Memory: jobrecord.Amount{Value: known(1 << 20), Source: "cgroup memory limit"}})
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	o, err := series.PrmonJSON(rec)
	if err := errors.Join(err, os.WriteFile(path(".json"), b, 0o600), os.WriteFile(path(".prmon.json"), o, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path(".json"), path(".tsv.gz"), path(".txt"), path(".prmon.json")
}

func read(t *testing.T, paths ...string) []*Job {
	t.Helper()
	jobs, warnings, err := Read(paths)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return jobs
}

// A graph of several jobs names the job of its only line.
func TestOnlyLine(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "4711", start)
	other, _, _, _ := files(t, "4712", start.Add(time.Hour))
	for _, p := range plots(read(t, record, table, other)) {
		if !strings.HasSuffix(p.title, ", 4711") {
			t.Errorf("%q", p.title)
		}
	}
}

// A series that has direct children is split by them.
func TestChildren(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "series.tsv")
	var b strings.Builder
	b.WriteString("time_s\trun_time_s\tcpu_user_s\tcpu_system_s\tchild1_pid\tchild1_cpu_s\tchild1_rss_kb\tchild2_pid\tchild2_cpu_s\tchild2_rss_kb\n")
	for i := range 20 {
		first, second := fmt.Sprintf("71\t%v\t100", .25*float64(i)), fmt.Sprintf("%d\t%v\t200", 80+i/2, i%2)
		if i == 19 {
			first = "\t\t"
		}
		fmt.Fprintf(&b, "%d\t%d\t%d\t0\t%s\t%s\n", 1000+i, i, i, first, second)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	jobs := read(t, path)
	if v := values(t, jobs, "children", "pid 71"); len(v) != 19 || v[0] != .25 || v[18] != .25 {
		t.Errorf("CPU of a child %v", v)
	}
	graphs := 0
	for _, p := range plots(jobs) {
		if p.name != "children" {
			continue
		}
		if graphs++; len(p.series) != maxChildren || !strings.Contains(p.note, "3 more") {
			t.Errorf("%d lines, %q", len(p.series), p.note)
		}
		if last := p.series[1]; graphs == 2 && (len(last.Points) != 2 || last.Points[1].Value != 200) {
			t.Errorf("memory of %s: %v", last.Label, last.Points)
		}
	}
	if svg, err := SVG(jobs, "children"); err != nil || graphs != 2 || !strings.Contains(string(svg), "pid 71") {
		t.Errorf("%v", err)
	}
}

// values returns the values of a line of a graph.
func values(t *testing.T, jobs []*Job, name, label string) (v []float64) {
	t.Helper()
	for _, p := range plots(jobs) {
		for _, s := range p.series {
			if p.name == name && s.Label == label {
				for _, x := range s.Points {
					v = append(v, x.Value)
				}
				return v
			}
		}
	}
	t.Fatalf("no line %s of %s", label, name)
	return nil
}

func TestGraphs(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "4711", start)
	jobs := read(t, record, table)
	if len(jobs) != 1 || jobs[0].Label != "4711" {
		t.Fatalf("%+v", jobs)
	}
	for _, c := range []struct {
		name, label string
		want        float64
	}{{"cpu", "user and system", 1.5}, {"cpu", "user", 1}, {"cpu", "system", .5}, {"memory", "rss", 600 << 10}, {"processes", "threads", 5}, {"io", "written", 1 << 20}} {
		all := values(t, jobs, c.name, c.label)
		for _, v := range all {
			if math.Abs(v-c.want) > 1e-6*c.want && !math.IsNaN(v) {
				t.Errorf("%s %s: %v, want %v", c.name, c.label, all, c.want)
				break
			}
		}
	}
	for _, p := range plots(jobs) {
		if p.name == "network" || p.name == "gpu" {
			t.Errorf("a graph of %s without values", p.name)
		}
		if p.name == "memory" && (len(p.levels) != 2 || p.levels[1].Value != 1<<20) {
			t.Errorf("levels %+v", p.levels)
		}
	}
}

// A limit far above all values is named and not drawn.
func TestLevelFarAbove(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "1", start)
	jobs := read(t, record, table)
	jobs[0].record.Resources.Memory.Allocated = procinfo.Known(64 << 20)
	for _, p := range plots(jobs) {
		if p.name == "memory" && (len(p.levels) != 1 || p.note != "Limit: 64 GiB, above the graph.") {
			t.Errorf("%+v, %q", p.levels, p.note)
		}
	}
}

// wellFormed fails unless a document is XML, except for the tags of a page that have no end.
func wellFormed(t *testing.T, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "link"}, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %.1000s", err, b)
		}
	}
}

func TestHTML(t *testing.T) {
	t.Parallel()
	record, table, text, object := files(t, "4711", start)
	other, otherTable, _, _ := files(t, `<b>&"`, start.Add(time.Hour))
	for want, paths := range map[int][]string{1: {record, table}, 2: {record, other, otherTable, table}} {
		b, err := HTML(read(t, paths...))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, b)
		page := string(b)
		if strings.Contains(page, "<script") || strings.Contains(page, "<b>&") || strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "ZgotmplZ") {
			t.Errorf("%d jobs: a script, or another address", want)
		}
		for _, x := range []string{"<title>Job", "&lt;script&gt;", "exit code 3", "37.5 % of 4 requested (--cpus)", "58.6 % of 1 GiB given (cgroup memory limit)", "0:02:30 (user 0:01:40, system 50 s)", `<svg class="graph"`, "@media print"} {
			if !strings.Contains(page, x) {
				t.Errorf("%d jobs: no %q", want, x)
			}
		}
		if n := strings.Count(page, `scope="col" dir`); n != want {
			t.Errorf("%d columns, want %d", n, want)
		}
	}
	jobs := read(t, text, object) // prmon's own files
	if b, err := HTML(jobs); err != nil || len(jobs) != 1 || !strings.Contains(string(b), "peak 600 MiB") || !strings.Contains(string(b), "0:01:40") {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

func TestSVG(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "4711", start)
	for _, name := range []string{"cpu", "memory", "processes", "io"} {
		svg, err := SVG(read(t, record, table), name)
		if err != nil || !strings.HasPrefix(string(svg), "<svg") || !strings.Contains(string(svg), `xmlns="http://www.w3.org/2000/svg"`) {
			t.Errorf("%s: %v, %.100s", name, err, svg)
		}
		wellFormed(t, []byte(svg))
	}
	if _, err := SVG(read(t, record, table), "network"); err == nil {
		t.Error("a graph without values")
	}
	if _, err := SVG(read(t, record), "cpu"); err == nil || !strings.Contains(err.Error(), "needs a time series") {
		t.Errorf("%v", err)
	}
}

// The text fits into 80 columns.
func TestText(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "4711", start)
	want := `Job 4711: ./job <script>alert(1)</script>
  run time 0:01:40, exit code 3
  CPU        ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  1.5 of 4 CPUs (37.5 %), time 0:02:30
  memory     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  peak 600 MiB of 1 GiB, mean 600 MiB
  processes  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  peak 2, threads 5
  read       ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  0 B, 0 B/s
  written    ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  100 MiB, 1 MiB/s

The job used 1.5 of the 4 CPUs requested: 2 would be enough.
`
	flat := strings.NewReplacer("▂", "▁", "▃", "▁", "▄", "▁", "▅", "▁", "▆", "▁", "▇", "▁", "█", "▁")
	got := Text(read(t, record, table))
	if flat.Replace(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	jobs := read(t, record, table)
	jobs[0].Label = strings.Repeat("long\x1b[2J\n", 50)
	jobs[0].record.Job.Host = jobrecord.Text(strings.Repeat("h", 300))
	for line := range strings.Lines(Text(jobs)) {
		if n := utf8.RuneCountInString(line); n > 80 || strings.ContainsAny(line, "\x1b\a") {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}

// Files belong together by start and run time, in any order.
func TestPairs(t *testing.T) {
	t.Parallel()
	a, aTable, _, _ := files(t, "a", start)
	b, bTable, _, _ := files(t, "b", start.Add(time.Minute))
	for _, paths := range [][]string{{a, aTable, b, bTable}, {a, b, bTable, aTable}, {bTable, aTable, b, a}} {
		jobs := read(t, paths...)
		if len(jobs) != 2 {
			t.Fatalf("%d jobs", len(jobs))
		}
		for _, j := range jobs {
			if j.table == nil || !j.table.record().Job.Start.Equal(j.record.Job.Start.Time) {
				t.Errorf("%s has the wrong series", j.Label)
			}
		}
	}
	if jobs := read(t, a, bTable); len(jobs) != 2 {
		t.Errorf("%d jobs of files that differ", len(jobs))
	}
	if jobs := read(t, aTable, aTable); len(jobs) != 2 || jobs[0].Label == jobs[1].Label {
		t.Errorf("%+v", jobs)
	}
}

// A series alone gives averages and totals. A peak of one sample is the peak.
func TestSeriesAlone(t *testing.T) {
	t.Parallel()
	_, table, _, _ := files(t, "a", start)
	j := read(t, table)[0]
	r := j.record
	if r.Levels.RSS.Max.V != 600<<10 || r.Levels.RSS.Avg.V != 600<<10 || r.Totals.WChar.Total.V != 100<<20 || r.CPU.Total.V != 150 || r.Resources.CPUs.Used.V != 1.5 || r.Resources.CPUs.Requested.OK || j.Label != "a.tsv.gz" {
		t.Errorf("%s %+v", j.Label, r)
	}
}

// Rates over very short times are not shown: counters have steps.
func TestRates(t *testing.T) {
	t.Parallel()
	j := Job{table: &table{rows: 5, columns: map[string][]float64{"run_time_s": {0, .1, 10, 20, 20.001}, "cpu_user_s": {0, .02, 10, 20, 20.02}}}}
	points := j.rates("cpu_user_s")
	if len(points) != 3 || points[2].Time.Sub(epoch) != 20001*time.Millisecond {
		t.Errorf("%+v", points)
	}
	for _, p := range points {
		if p.Value < .99 || p.Value > 1.01 {
			t.Errorf("%+v", points)
		}
	}
	if p := j.rates("none"); len(p) > 0 && !math.IsNaN(p[0].Value) {
		t.Errorf("%+v", p)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	known := procinfo.Known
	make := func(run, cpu, requested, rss, limit float64) *jobrecord.Record {
		r := &jobrecord.Record{}
		r.Job.RunTime, r.CPU.Total, r.Levels.RSS.Max = known(run), known(cpu), known(rss)
		some := func(v float64) jobrecord.Amount {
			return jobrecord.Amount{Value: procinfo.KnownIf(v, v > 0), Source: "test"}
		}
		a := jobrecord.Amounts{CPUs: some(requested), Memory: some(limit)}
		r.SetResources(a, a)
		return r
	}
	forked := make(100, 100, 0, 5000, 1000)
	forked.Levels.Processes.Max = known(8)
	killed := make(100, 100, 0, 5000, 1000)
	killed.Levels.Processes.Max, killed.Totals.OOMKills.Total = known(8), known(1)
	for want, r := range map[string]*jobrecord.Record{
		"":                     make(100, 390, 4, 900, 1000),
		"--pss.":               forked,
		"given: request more.": killed,
		"request more.":        make(10, 5, 1, 990, 1000),
		"2 would be":           make(100, 150, 8, 0, 0),
		"limit its":            make(100, 350, 1, 0, 0),
		"waited for":           make(100, 3, 1, 0, 0),
		"512 MiB would":        make(100, 90, 1, 300<<10, 8<<20),
	} {
		if got := adviceFor(r); want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, ". ") > 0 {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := adviceFor(make(3, .1, 8, 1, 8<<20)); got != "" {
		t.Errorf("a short job: %q", got)
	}
}

// Errors name the file and the line.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const header = "time_s\trun_time_s\trss_kb\n"
	record, _, _, _ := files(t, "a", start)
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ content, want string }{
		{"", ":1: the file is empty"},
		{" \n\n", ":1: the file is empty"},
		{"hello\nworld\n", ":1: not a time series"},
		{"\x7fELF\x02\x01\x00", ":1: not a time series"},
		{header, ":2: no line"},
		{header + "1\t2\t3\n1\t2\n", ":3: 2 fields, but the header has 3"},
		{header + "1\t2\t3", ":2: no line"},
		{header + "1\t2\tx\n", `:2: column rss_kb: "x" is not a number`},
		{header + "1\t2\tNaN\n", ":2: column rss_kb"},
		{header + "1\t2\t1e999\n", ":2: column rss_kb"},
		{header + "1\t2\t0x10\n", ":2: column rss_kb"},
		{header + "5\t2\t1\n4\t3\t1\n", ":3: column time_s decreases"},
		{header + "1\t\t1\n", ":2: column run_time_s is not a time"},
		{header + "1\t1e300\t1\n", ":2: column run_time_s is not a time"},
		{"time_s\trun_time_s\ttime_s\n", `:1: two columns "time_s"`},
		{"Time\twtime\ttime_s\n", `:1: two columns "time_s"`},
		{"{\n\"schema\": ", ":2: the file ends in the middle"},
		{"{\n\"schema\"; 1}", ":2: invalid character"},
		{string(whole[:len(whole)/2]), ":1: the file ends in the middle"},
		{string(whole) + "\nx", ":2: more text"},
		{`{"a": 1}`, ":1: neither a record"},
		{`{"schema": "apmon-job-record", "version": 99}`, ":1: version 99"},
		{"{\"schema\": \"apmon-job-record\",\n\"version\": 1, \"job\": 3}", ":2: json"},
		{`{"Max": {"rss": "x"}, "Avg": {}}`, ":1: json"},
		{"{\"time_s\": 1, \"run_time_s\": 1}\n{\"time_s\": 2}\n", ":2: 1 values"},
		{"{\"time_s\": 1, \"run_time_s\": 1}\n{\"time_s\": 2, \"x\": 3}\n", ":2: \"x\" is not in"},
		{"{\"time_s\": 1, \"run_time_s\": 1}\n{\"time_s\": 2, \"run_t\n", ":2: invalid character"},
		{"{\"time_s\": 1, \"run_time_s\": \"1\"}\n", ":1: json"},
		{header + "1\t9e9\t1\n", ":2: column run_time_s is not a time"},
		{"time_s\trun_time_s\t\x1b[31m\n1\t1\tx\n", ":2: column  [31m: \"x\""},
		{"time_s\trun_time_s" + strings.Repeat("\tx", maxColumns) + "\n", ":1: more than 1000 columns"},
		{header + strings.Repeat("1", maxLine) + "\n", ":2: a line of more than 1 MiB"},
		{`{"time_s": 1, "run_time_s": 1, "` + strings.Repeat("x", maxLine) + `": 1}`, ":1: a line of more than 1 MiB"},
		{`{"schema": "apmon-job-record", "version": -1}`, ":1: version -1"},
		{"\x1f\x8bnonsense", ":1: "},
		{strings.Repeat("[", 1<<16), ":1: not a time series"},
		{strings.Repeat(`{"a":`, 1<<16), ":1: "},
	} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := Read([]string{record, path})
		if err == nil || !strings.HasPrefix(err.Error(), path+c.want) {
			t.Errorf("%.60q: %v, want %s", c.content, err, c.want)
		}
	}
	if _, _, err := Read([]string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, _, err := Read([]string{dir}); err == nil {
		t.Error("a folder was read")
	}
}

// A file that becomes enormous is not read to its end. One without its end is used.
func TestCompressed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.gz")
	write := func(text string, whole bool) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := io.WriteString(z, text)
		if err = errors.Join(err, z.Flush()); whole {
			err = errors.Join(err, z.Close())
		}
		if err := errors.Join(err, os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat(" ", maxBytes+10), true)
	if _, _, err := Read([]string{path}); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("%v", err)
	}
	const text = "time_s\trun_time_s\trss_kb\n1\t1\t1\n2\t2\t3\n"
	write(text, false)
	jobs, warnings, err := Read([]string{path})
	if err != nil || len(warnings) != 1 || jobs[0].table.rows != 2 {
		t.Errorf("%v, %q", err, warnings)
	}
	b, err := os.ReadFile(path)
	if err = errors.Join(err, os.WriteFile(path, append(b, make([]byte, 4096)...), 0o600)); err != nil {
		t.Fatal(err)
	}
	jobs, warnings, err = Read([]string{path})
	if err != nil || len(warnings) != 1 || jobs[0].table.rows != 2 {
		t.Errorf("with zeros at the end: %v, %q", err, warnings)
	}
	write(text[:len(text)-2], false)
	jobs, warnings, err = Read([]string{path})
	if err != nil || len(warnings) != 1 || jobs[0].table.rows != 1 {
		t.Errorf("%v, %q", err, warnings)
	}
}

// An error is one short line, whatever the file says.
func TestErrorIsShort(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{
		`{"schema": "apmon-job-record", "version": 1, "job": {"run_time_s": ` + strings.Repeat("1", 5000) + `}}`,
		`{"schema": "apmon-job-record", "version": 1, "job": {"start_time": "` + strings.Repeat("1", 5000) + `"}}`,
		`{"time_s": 1, "run_time_s": ` + strings.Repeat("1", 5000) + `}`,
		"time_s\trun_time_s\t" + strings.Repeat("x", 5000) + "\n1\t1\tz\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read([]string{path}); err == nil || len(err.Error()) > len(path)+2*longest {
			t.Errorf("%.60q: %.500v", text, err)
		}
	}
}

// A series whose last line is incomplete, as a disk that fills up or a node that dies leaves
// it, is used without that line.
func TestCutSeries(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{
		"time_s\trun_time_s\trss_kb\n1\t1\t1\n2\t2\t30\n3\t3\t5",
		"time_s\trun_time_s\trss_kb\n1\t1\t1\n2\t2\t30\n3\t",
		"{\"time_s\": 1, \"run_time_s\": 1}\n{\"time_s\": 2, \"run_time_s\": 2}\n{\"time_s\": 3, \"run_t",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		jobs, warnings, err := Read([]string{path})
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "the last line is incomplete") || jobs[0].table.rows != 2 {
			t.Errorf("%q: %v, %q", text, err, warnings)
		}
	}
}

// FuzzRead: no file causes a panic, and a file that is read can be shown.
func FuzzRead(f *testing.F) {
	f.Add([]byte("time_s\trun_time_s\trss_kb\tcpu_user_s\n1\t1\t1\t1\n2\t2\t1e300\t-5\n"))
	f.Add([]byte(`{"schema":"apmon-job-record","version":1,"job":{"command":["x"],"run_time_s":5}}`))
	f.Add([]byte(`{"Max":{"wtime":1e300},"Avg":{"rss":-1}}`))
	f.Add([]byte(`{"time_s":1,"run_time_s":0}`))
	f.Add([]byte("Time\twtime\tutime\tstime\n1\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		jobs, _, err := Read([]string{path})
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
			return
		}
		page, err := HTML(jobs)
		if err != nil || !utf8.Valid(page) {
			t.Error(err)
		}
		for line := range strings.Lines(Text(jobs)) {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%d characters: %q", n, line)
			}
		}
	})
}
