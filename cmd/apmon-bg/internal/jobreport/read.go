package jobreport

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// Limits of a file, after decompression.
const (
	maxBytes   = 64 << 20
	maxLines   = 500_000
	maxColumns = 1000    // of a time series
	maxSeconds = 9e9     // of a time: a time.Duration holds them
	maxLine    = 1 << 20 // bytes of a time series
)

// A file is a record, or the time series of a job.
type file struct {
	path   string
	record *jobrecord.Record // nil for a time series
	table  *table            // nil for a record
}

// A table is a time series: columns under the names of our own files, NaN for unknown.
type table struct {
	rows    int
	cut     bool // the last line was incomplete and is left out
	columns map[string][]float64
}

// prmonColumns are our names of prmon's columns.
var prmonColumns = map[string]string{
	"Time": "time_s", "wtime": "run_time_s", "utime": "cpu_user_s", "stime": "cpu_system_s",
	"pss": "pss_kb", "rss": "rss_kb", "swap": "swap_kb", "vmem": "vmem_kb", "nprocs": "processes", "nthreads": "threads",
	"rchar": "rchar_bytes", "wchar": "wchar_bytes", "ngpus": "gpus", "gpufbmem": "gpu_memory_kb",
}

// columnName returns our name of a column.
func columnName(name string) string {
	if own := prmonColumns[name]; own != "" {
		return own
	}
	return name
}

// readFile reads a file. Errors name it, and the line. The warning is empty, or says what
// is missing.
func readFile(path string) (f *file, warning string, err error) {
	b, cut, err := content(path)
	if err != nil {
		return nil, "", err
	}
	f = &file{path: path}
	text := bytes.TrimSpace(b)
	switch {
	case len(text) == 0:
		return nil, "", fmt.Errorf("%s:1: the file is empty", path)
	case text[0] == '{':
		err = f.readJSON(b)
	default:
		f.table, err = readTSV(path, b)
	}
	if err == nil && f.table != nil && f.table.rows == 0 {
		err = fmt.Errorf("%s:2: no line after the header", path)
	}
	if err == nil && cut {
		warning = path + ": the compressed file has no end, or a damaged one: the lines so far are used"
	} else if err == nil && f.table != nil && f.table.cut {
		warning = path + ": the last line is incomplete: the lines before it are used"
	}
	return f, warning, err
}

// content reads a file as a whole, and decompresses it. A compressed file that was never
// closed is cut.
func content(path string) (b []byte, cut bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	buffered := bufio.NewReader(f)
	r := io.Reader(buffered)
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		if r, err = gzip.NewReader(buffered); err != nil {
			return nil, false, fmt.Errorf("%s:1: %w", path, err)
		}
	}
	b, err = io.ReadAll(io.LimitReader(r, maxBytes+1))
	// A disk that lost power may have zeros where the end was.
	var corrupt flate.CorruptInputError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) && bytes.IndexByte(b, '\n') >= 0 {
		cut, err = true, nil
	}
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("%s:%d: %w", path, lineAt(b, len(b)), err)
	case len(b) > maxBytes:
		return nil, false, fmt.Errorf("%s:%d: the file has more than %d MiB", path, lineAt(b, len(b)), maxBytes>>20)
	}
	return b, cut, nil
}

// lineAt returns the number of the line at an offset.
func lineAt(b []byte, offset int) int {
	return 1 + bytes.Count(b[:min(max(offset, 0), len(b))], []byte("\n"))
}

// readJSON reads a record, prmon's summary, or JSON lines.
func (f *file) readJSON(b []byte) error {
	var probe struct {
		Schema  string          `json:"schema"`
		Version int             `json:"version"`
		Time    json.RawMessage `json:"time_s"`
		Max     json.RawMessage
		Avg     json.RawMessage
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&probe); err != nil {
		return f.jsonError(b, err)
	}
	if probe.Time != nil {
		var err error
		f.table, err = readLines(f.path, b)
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:%d: more text after the record", f.path, lineAt(b, int(d.InputOffset())))
	}
	f.record = &jobrecord.Record{}
	switch {
	case probe.Schema == jobrecord.Schema && probe.Version > 0 && probe.Version <= jobrecord.Version:
		return f.jsonError(b, json.Unmarshal(b, f.record))
	case probe.Schema == jobrecord.Schema:
		return fmt.Errorf("%s:1: version %d of the record is not known: only up to %d", f.path, probe.Version, jobrecord.Version)
	case probe.Max != nil && probe.Avg != nil:
		return f.jsonError(b, readPrmonJSON(b, f.record))
	}
	return fmt.Errorf("%s:1: neither a record of a job nor a time series", f.path)
}

// jsonError returns an error with the line, nil for nil.
func (f *file) jsonError(b []byte, err error) error {
	if err == nil {
		return nil
	}
	at := 0
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = int(syntax.Offset)
	case errors.As(err, &typed):
		at = int(typed.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		at = len(bytes.TrimRight(b, "\n"))
		err = errors.New("the file ends in the middle of the record")
	}
	return fmt.Errorf("%s:%d: %s", f.path, lineAt(b, at), clean(err.Error(), longest))
}

var errLongLine = fmt.Errorf("a line of more than %d MiB", maxLine>>20)

// readTSV reads a table with a header.
func readTSV(path string, b []byte) (*table, error) {
	t := &table{columns: map[string][]float64{}}
	var names []string
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: "+format, append([]any{path, n}, args...)...)
		}
		if len(line) > maxLine {
			return nil, fail("%w", errLongLine)
		}
		whole, ok := strings.CutSuffix(line, "\n")
		fields := strings.Split(strings.TrimSuffix(whole, "\r"), "\t")
		if n == 1 {
			for _, name := range fields {
				names = append(names, columnName(name))
			}
			if err := t.header(names); err != nil {
				return nil, fail("%w", err)
			}
			continue
		}
		if t.cut = !ok; t.cut {
			break
		}
		if len(fields) != len(names) {
			return nil, fail("%d fields, but the header has %d", len(fields), len(names))
		}
		for i, text := range fields {
			v, err := number(text)
			if err != nil {
				return nil, fail("column %s: %w", clean(names[i], 40), err)
			}
			t.columns[names[i]] = append(t.columns[names[i]], v)
		}
		if err := t.added(); err != nil {
			return nil, fail("%w", err)
		}
	}
	return t, nil
}

// header checks the names of the columns.
func (t *table) header(names []string) error {
	if len(names) > maxColumns {
		return fmt.Errorf("more than %d columns", maxColumns)
	}
	for _, name := range names {
		if _, ok := t.columns[name]; ok {
			return fmt.Errorf("two columns %.40q", name)
		}
		t.columns[name] = nil
	}
	for _, name := range []string{"time_s", "run_time_s"} {
		if _, ok := t.columns[name]; !ok {
			return errors.New("not a time series of a job: the header has no columns time_s and run_time_s (of prmon: Time and wtime)")
		}
	}
	return nil
}

// added counts a row and checks its times.
func (t *table) added() error {
	t.rows++
	if t.rows > maxLines {
		return fmt.Errorf("more than %d lines", maxLines)
	}
	for _, name := range []string{"time_s", "run_time_s"} {
		c := t.columns[name]
		last := len(c) - 1
		if v := c[last]; !(v >= 0 && v < maxSeconds) {
			return fmt.Errorf("column %s is not a time", name)
		} else if last > 0 && v < c[last-1] {
			return fmt.Errorf("column %s decreases", name)
		}
	}
	return nil
}

// number returns the value of a field, NaN if it is empty.
func number(text string) (float64, error) {
	if text == "" {
		return math.NaN(), nil
	}
	if strings.Trim(text, "0123456789+-.eE") == "" {
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%.40q is not a number", text)
}

// readLines reads JSON lines: an object with the same names in each.
func readLines(path string, b []byte) (*table, error) {
	t := &table{columns: map[string][]float64{}}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		fail := func(err error) error { return fmt.Errorf("%s:%d: %s", path, n, clean(err.Error(), longest)) }
		if len(line) > maxLine {
			return nil, fail(errLongLine)
		}
		var row map[string]*float64
		if err := json.Unmarshal(line, &row); err != nil {
			if t.cut = n > 1 && line[len(line)-1] != '\n'; t.cut {
				break
			}
			return nil, fail(err)
		}
		if n == 1 {
			var names []string
			for name := range row {
				names = append(names, name)
			}
			if err := t.header(names); err != nil {
				return nil, fail(err)
			}
		}
		if len(row) != len(t.columns) {
			return nil, fail(fmt.Errorf("%d values, but the first line has %d", len(row), len(t.columns)))
		}
		for name, v := range row {
			if _, ok := t.columns[name]; !ok {
				return nil, fail(fmt.Errorf("%.40q is not in the first line", name))
			}
			value := math.NaN()
			if v != nil {
				value = *v
			}
			t.columns[name] = append(t.columns[name], value)
		}
		if err := t.added(); err != nil {
			return nil, fail(err)
		}
	}
	return t, nil
}
