package prom

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// testStore is a store with an exporter.
type testStore struct {
	*history.Store
	*Exporter
	now time.Time // of the datagrams
}

func newTestStore(t testing.TB, o Options) *testStore {
	t.Helper()
	store := history.New(history.Options{MaxSeries: 2_000_000, MaxBytes: 1 << 40})
	e, err := New(store, o, Sources{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return &testStore{store, e, time.Now()}
}

func number(name string, v float64) xdr.Param { return xdr.Float(name, v) }

func (s *testStore) offer(cluster, node string, params ...xdr.Param) {
	s.Offer(cluster, node, params, s.now, 0)
}

var accepts = [formats]string{"text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"}

// scrape returns the whole exposition.
func (s *testStore) scrape(t testing.TB, f format) string {
	t.Helper()
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", accepts[f])
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	want := accepts[f] + "; charset=utf-8; escaping=underscores"
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || strings.ReplaceAll(got, "; version", ";version") != want {
		t.Errorf("status %d, type %q, want %q", w.Code, got, want)
	}
	return w.Body.String()
}

// values returns the lines of a scrape that are not about the receiver itself, without the
// time when nodes were seen.
func (s *testStore) values(t testing.TB, f format) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(s.scrape(t, f)) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if !reserved(strings.FieldsFunc(name, func(c rune) bool { return c == ' ' || c == '{' })[0]) ||
			strings.HasPrefix(line, paramMetric) {
			b.WriteString(line)
		}
	}
	return strings.TrimSuffix(b.String(), "# EOF\n")
}

func compareText(t testing.TB, got string, want ...string) {
	t.Helper()
	w := strings.Join(want, "\n")
	if w != "" {
		w += "\n"
	}
	if got != w {
		t.Errorf("got\n%swant\n%s", got, w)
	}
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)( \S+)?$`)
	headLine   = regexp.MustCompile(`^# (HELP|TYPE|UNIT) ([a-zA-Z_][a-zA-Z0-9_]*) (.*)$`)
)

// parse checks an exposition, and that no series is in it twice. It returns the number of
// samples by metric.
func (s *testStore) parse(t testing.TB, text string, f format) map[string]int {
	t.Helper()
	if f == plainText {
		p := expfmt.NewTextParser(model.LegacyValidation)
		if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil {
			t.Fatalf("%v", err)
		}
	} else {
		var ok bool
		if text, ok = strings.CutSuffix(text, "# EOF\n"); !ok {
			t.Fatal("no end mark")
		}
	}
	counts, seen, heads := map[string]int{}, map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := headLine.FindStringSubmatch(line); m != nil {
			if heads[m[1]+m[2]] {
				t.Errorf("%s of %s twice", m[1], m[2])
			}
			heads[m[1]+m[2]] = true
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%q cannot be read", line)
		}
		if seen[m[1]+m[2]] {
			t.Fatalf("%s%s twice", m[1], m[2])
		}
		seen[m[1]+m[2]] = true
		counts[m[1]]++
	}
	return counts
}

// promtool checks an exposition with the real one: it must have nothing to say.
func promtool(t testing.TB, text string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here: install Debian's package prometheus")
	}
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%.5000s", err, out)
	}
}

func gunzip(t testing.TB, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fill offers series of ten parameters for each node.
func (s *testStore) fill(series int) {
	params := make([]xdr.Param, 10)
	for i := range series / 10 {
		for j := range params {
			params[j] = number(fmt.Sprintf("parameter_%d", j), float64(i)+float64(j)/7)
		}
		s.offer("Some_Cluster", fmt.Sprintf("node%d.example.org", i), params...)
	}
}

// discard is a response that goes nowhere.
type discard struct {
	header http.Header
	n      int
}

func newDiscard() *discard { return &discard{header: http.Header{}} }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func newRequest() *http.Request {
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", accepts[openMetrics])
	return req
}

// allocated returns the bytes that f, and all else meanwhile, allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// cpuTime returns the CPU time of the process.
func cpuTime() time.Duration {
	u := procinfo.ReadUsage()
	return time.Duration((u.UserTime.V + u.SystemTime.V) * float64(time.Second))
}
