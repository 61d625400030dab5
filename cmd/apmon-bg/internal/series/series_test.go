package series

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

var start = time.Unix(1772366400, 0)

func at(seconds, rss float64) *procinfo.JobSample {
	s := &procinfo.JobSample{At: start.Add(time.Duration(seconds * float64(time.Second))), RunTime: procinfo.Known(seconds), RSS: procinfo.Known(rss)}
	s.CPUTime, s.CPUUser, s.CPUSystem = procinfo.Known(seconds), procinfo.Known(seconds*.75), procinfo.Known(seconds*.25)
	s.RChar, s.Processes, s.Threads = procinfo.Known(1000*seconds), procinfo.Known(2), procinfo.Known(3)
	return s
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// table returns the columns of a TSV file.
func table(t *testing.T, content string) map[string][]string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(content, "\n"), "\n")
	columns := map[string][]string{}
	names := strings.Split(lines[0], "\t")
	for _, line := range lines[1:] {
		fields := strings.Split(line, "\t")
		if len(fields) != len(names) {
			t.Fatalf("%d fields, %d names: %q", len(fields), len(names), line)
		}
		for i, name := range names {
			columns[name] = append(columns[name], fields[i])
		}
	}
	return columns
}

// Each line is in the file as soon as it is written. Unknown values are empty.
func TestTSV(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "series.tsv")
	f, err := Create(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range []*procinfo.JobSample{at(.1, 1000), at(1.2346, 2000)} {
		if err := f.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	c := table(t, read(t, path))
	for name, want := range map[string][]string{
		"time_s": {"1772366400.1", "1772366401.234"}, "run_time_s": {"0.1", "1.235"}, "cpu_user_s": {"0.075", "0.926"},
		"rss_kb": {"1000", "2000"}, "pss_kb": {"", ""}, "rchar_bytes": {"100", "1235"}, "processes": {"2", "2"},
	} {
		if !slices.Equal(c[name], want) {
			t.Errorf("%s: %q, want %q", name, c[name], want)
		}
	}
	if want := 4 + len(jobrecord.Quantities); len(c) != want {
		t.Errorf("%d columns, want %d", len(c), want)
	}
}

// A direct child keeps its columns while it lives, and another one gets them after it.
func TestChildren(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "series.tsv")
	f, err := Create(path, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	child := func(pid int, cpu, rss float64) procinfo.JobChild {
		return procinfo.JobChild{PID: pid, CPUTime: procinfo.Known(cpu), RSS: procinfo.Known(rss)}
	}
	for i, children := range [][]procinfo.JobChild{{child(7, 1, 100), child(8, 2, 200), child(9, 3, 300)}, {child(8, 2.5, 210)}, {child(8, 2.6, 220), child(9, 4, 310)}, nil} {
		s := at(float64(i), 1000)
		s.Children = children
		if err := f.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	c := table(t, read(t, path))
	for name, want := range map[string][]string{
		"child1_pid": {"7", "", "9", ""}, "child1_cpu_s": {"1", "", "4", ""}, "child1_rss_kb": {"100", "", "310", ""},
		"child2_pid": {"8", "8", "8", ""}, "child2_cpu_s": {"2", "2.5", "2.6", ""},
	} {
		if !slices.Equal(c[name], want) {
			t.Errorf("%s: %q, want %q", name, c[name], want)
		}
	}
	if c["child3_pid"] != nil {
		t.Error("columns of a third child")
	}
}

// A compressed file that was never closed has all lines so far.
func TestCompressedJSONLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "series.jsonl.gz")
	f, err := Create(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.f.Close()
	for i := range 3 {
		if err := f.Write(at(float64(i), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	z, err := gzip.NewReader(strings.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("%v; the file is not closed", err)
	}
	lines := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	var line map[string]any
	if err := json.Unmarshal(lines[2], &line); err != nil || len(lines) != 3 || line["rss_kb"] != 1000. || line["run_time_s"] != 2. || line["pss_kb"] != nil {
		t.Errorf("%d lines, %v, %v", len(lines), line, err)
	}
	if _, ok := line["pss_kb"]; !ok {
		t.Error("an unknown value is missing")
	}
}

// A job of weeks: the file has at most so many lines, the peak of a single sample stays,
// and what is left describes the rest.
func TestThinning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "series.tsv")
	const limit, samples = 200, 20000
	f, err := Create(path, limit, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rss := func(i int) float64 {
		switch {
		case i == 7777:
			return 1e6 // one sample
		case i < 5000:
			return 1000 + 10*float64(i)
		}
		return 51000 + 20000*math.Sin(float64(i)/2000)
	}
	for i := range samples {
		if err := f.Write(at(float64(10*i), rss(i))); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			if n := strings.Count(read(t, path), "\n") - 1; n > limit || n < limit/4 {
				t.Fatalf("%d lines after %d samples", n, i)
			}
		}
	}
	c := table(t, read(t, path))
	if !slices.Contains(c["rss_kb"], "1000000") || c["run_time_s"][0] != "0" || c["run_time_s"][len(c["run_time_s"])-1] != "199990" {
		t.Errorf("the peak, the first or the last sample is missing: %q", c["run_time_s"])
	}
	worst, k := 0., 0
	time := func(k int) float64 { return parse(t, c["run_time_s"][k]) }
	for i := range samples {
		for k < len(c["run_time_s"])-2 && time(k+1) <= float64(10*i) {
			k++
		}
		a, b := parse(t, c["rss_kb"][k]), parse(t, c["rss_kb"][k+1])
		got := a + (b-a)*(float64(10*i)-time(k))/(time(k+1)-time(k))
		worst = max(worst, math.Abs(got-rss(i)))
	}
	if worst > 2e4 { // 2 % of the range
		t.Errorf("an interpolated value is off by %v", worst)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func parse(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A file that cannot be written is reported once; the complete lines stay.
func TestFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "series.tsv")
	f, err := Create(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(at(1, 1)); err != nil {
		t.Fatal(err)
	}
	f.f.Close()
	if err := f.Write(at(2, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := f.Write(at(3, 1)); err != nil {
		t.Errorf("reported again: %v", err)
	}
	if n := strings.Count(read(t, path), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	other, err := Create(link, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if n := strings.Count(read(t, path), "\n"); n != 2 || !strings.HasPrefix(read(t, link), "time_s") {
		t.Errorf("a link was followed: %d lines", n)
	}
	if _, err := Create(dir, 0, 0); err == nil {
		t.Error("created a directory")
	}
	if _, err := Create(filepath.Join(dir, "none", "x"), 0, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// The table has prmon's columns, whole numbers except the times, one line a second, and at
// the end the last values of the living job.
func TestPrmonText(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prmon.txt")
	p, err := CreatePrmonText(path, 0, true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	end := at(3.9, 0)
	end.Ended, end.RSS, end.Processes, end.Threads = true, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}
	first := at(.1, 1000.4)
	first.PSS, first.Swap, first.VirtualMem = procinfo.Known(900), procinfo.Known(0), procinfo.Known(9000)
	for _, s := range []*procinfo.JobSample{first, at(.3, 1500), at(1.2, 2000), end} {
		if err := p.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	want := `Time	wtime	pss	rss	swap	vmem	rchar	read_bytes	wchar	write_bytes	rx_bytes	rx_packets	tx_bytes	tx_packets	stime	utime	nprocs	nthreads
1772366400	0.1	900	1000	0	9000	100	0	0	0	0	0	0	0	0.03	0.08	2	3
1772366401	1.2	0	2000	0	0	1200	0	0	0	0	0	0	0	0.3	0.9	2	3
1772366404	3.9	0	2000	0	0	3900	0	0	0	0	0	0	0	0.98	2.93	2	3
`
	if got := read(t, path); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// The totals of a job that ends in the second of the last line are in the table.
func TestPrmonTextLastSecond(t *testing.T) {
	t.Parallel()
	for _, maxLines := range []int{0, MinLines} {
		path := filepath.Join(t.TempDir(), "prmon.txt")
		p, err := CreatePrmonText(path, maxLines, true, false)
		if err != nil {
			t.Fatal(err)
		}
		lines := MinLines + 1 // the last one has the file thinned
		for i := range lines {
			if err := p.Write(at(float64(i), 123456)); err != nil {
				t.Fatal(err)
			}
		}
		before := strings.Count(read(t, path), "\n")
		end := at(float64(lines)-.8, 0)
		end.Ended, end.RSS = true, procinfo.Value{}
		if err := errors.Join(p.Write(end), p.Close()); err != nil {
			t.Fatal(err)
		}
		c := table(t, read(t, path))
		n := len(c["wtime"])
		if n != before-1 || c["wtime"][n-1] != "10.2" || c["rss"][n-1] != "123456" || c["rchar"][n-1] != "10200" || c["Time"][n-1] == c["Time"][n-2] {
			t.Errorf("%d lines, %d before: %q", n, before-1, c)
		}
	}
}

// On a host with a GPU, the table has prmon's columns for it. The engines are busy for a
// part of the time between two lines.
func TestPrmonGPU(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prmon.txt")
	p, err := CreatePrmonText(path, 0, false, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, busy := range []float64{0, .5, 3} {
		s := at(float64(2*i), 1000)
		if i > 0 {
			s.GPUs, s.GPUMem, s.GPUTime = procinfo.Known(2), procinfo.Known(5000), procinfo.Known(busy)
		}
		if s.Ended = i == 2; s.Ended {
			s.GPUMem = procinfo.Value{}
		}
		if err := p.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	c := table(t, read(t, path))
	for name, want := range map[string][]string{"ngpus": {"0", "2", "2"}, "gpufbmem": {"0", "5000", "5000"}, "gpusmpct": {"0", "0", "125"}} {
		if !slices.Equal(c[name], want) {
			t.Errorf("%s: %q, want %q", name, c[name], want)
		}
	}
	var r jobrecord.Recorder
	first, last := at(0, 1000), at(10, 1000)
	last.GPUs, last.GPUMem, last.GPUTime = procinfo.Known(1), procinfo.Known(5000), procinfo.Known(4)
	r.Add(*first, nil)
	r.Add(*last, nil)
	b, err := PrmonJSON(r.Record())
	var got struct {
		Max, Avg map[string]float64
		Units    map[string]map[string]string
	}
	if err = errors.Join(err, json.Unmarshal(b, &got)); err != nil || got.Max["ngpus"] != 1 || got.Max["gpufbmem"] != 5000 || got.Avg["gpusmpct"] != 40 || got.Units["Avg"]["gpusmpct"] != "%" {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestPrmonJSON(t *testing.T) {
	t.Parallel()
	var r jobrecord.Recorder
	r.Add(*at(1, 1000), nil)
	r.Add(*at(3, 2000), nil)
	rec := r.Record()
	rec.Hardware = jobrecord.Hardware{CPUModel: "A CPU", Sockets: procinfo.Known(2), Cores: procinfo.Known(32), CPUs: procinfo.Known(64), Memory: procinfo.Known(1 << 20)}
	b, err := PrmonJSON(rec)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	const file = `{"Avg": {"nprocs": 2, "nthreads": 3, "rss": 1500, "rchar": 1000},
		"Max": {"nprocs": 2, "nthreads": 3, "rss": 2000, "rchar": 3000, "utime": 2.25, "stime": 0.75, "wtime": 3},
		"HW": {"cpu": {"CPUs": 64, "CoresPerSocket": 16, "ModelName": "A CPU", "Sockets": 2, "ThreadsPerCore": 2}, "mem": {"MemTotal": 1048576}},
		"Units": {"Avg": {"nprocs": "1", "nthreads": "1", "rss": "kB", "rchar": "B/s"},
			"Max": {"nprocs": "1", "nthreads": "1", "rss": "kB", "rchar": "B", "utime": "s", "stime": "s", "wtime": "s"}},
		"prmon": {"Version": "3.3.0"}}`
	if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(file), &want)); err != nil {
		t.Fatal(err)
	}
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s\nwant %s", g, w)
	}
}

// A compressed file is thinned, too, and a file in a folder that takes no new file is
// overwritten.
func TestThinningInPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "series.tsv.gz"), 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := f.Write(at(float64(i), float64(i*i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 30)
	if err := os.Rename(dir, dir+"2"); err != nil { // the path does not exist any more
		t.Fatal(err)
	}
	write(30, 45)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(strings.NewReader(read(t, filepath.Join(dir+"2", "series.tsv.gz"))))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	c := table(t, string(b))
	if n := len(c["rss_kb"]); n < 10 || n > 20 || c["rss_kb"][0] != "0" || c["rss_kb"][n-1] != "1936" {
		t.Errorf("%q", c["rss_kb"])
	}
}
