package statusz

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get requests a page from loopback.
func get(t testing.TB, h http.Handler, path string, accept ...string) string {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header["Accept"] = accept
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// statusPage is the JSON form of a page, as clients decode it.
type statusPage struct {
	Process          map[string]any
	Counters, Gauges map[string]float64
	MaxGauges        map[string]float64 `json:"max_gauges"`
	MinGauges        map[string]float64 `json:"min_gauges"`
	Texts            map[string]string
	Registry         map[string]any
	HTTP             map[string]any
	Sender           map[string]any
}

func getJSON(t testing.TB, h http.Handler) (p statusPage) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(get(t, h, "/status")))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

func client(t *testing.T) *apmon.Client {
	t.Helper()
	quiet := apmon.Options{AdjustSource: func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }}
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "127.0.0.1", Port: 1, Password: "s3cret"}}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := metrics.New()
		c := client(t)
		p := New(reg, Options{Client: c})
		reg.Counter("requests").Add(20)
		reg.Gauge("queue_len").Set(9)
		reg.Gauge("queue_len").Set(2)
		reg.Gauge("queue_len").Set(7)
		reg.Measure("lookup").Observe(4)
		reg.Cache("names").Hit()
		reg.AddFunc(func(add func(apmon.Param)) {
			add(apmon.Int("sessions", 3))
			add(apmon.String("state", "RUNNING"))
			panic("oops")
		})
		reg.Gauge("queue_len").Set(math.NaN())
		reg.Gauge("requests")
		if err := c.Send("C", "N", apmon.Int("x", 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		got := getJSON(t, p)
		for _, tt := range []struct {
			in   map[string]float64
			name string
			want float64
		}{
			{got.Counters, "requests", 20}, {got.Gauges, "requests_R", 2}, {got.Counters, "names_abs_hits", 1}, {got.Gauges, "names_hit_percent", 100},
			{got.Gauges, "queue_len", 7}, {got.MinGauges, "queue_len", 2}, {got.MaxGauges, "queue_len", 9},
			{got.Gauges, "lookup_avg", 4}, {got.Gauges, "lookup_min", 4}, {got.Gauges, "sessions", 3},
		} {
			if v, ok := tt.in[tt.name]; !ok || v != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, v, tt.want)
			}
		}
		if len(got.Counters) != 4 || len(got.MaxGauges) != 1 || len(got.MinGauges) != 1 || got.Texts["state"] != "RUNNING" {
			t.Errorf("%+v", got)
		}
		if e := fmt.Sprint(got.Registry["error"]); got.Registry["ignored"] != 1. || got.Registry["panics"] != 1. ||
			!strings.Contains(e, "oops") || !strings.Contains(e, `gauge "requests" is a counter already`) {
			t.Errorf("%+v", got.Registry)
		}
		if got.Sender["messages"] != 1. || got.Sender["destinations"].([]any)[0].(map[string]any)["name"] != "127.0.0.1:1" {
			t.Errorf("%+v", got.Sender)
		}
		if runtime.GOOS == "linux" {
			cpu := got.Process["cpu"].(map[string]any)
			mem := got.Process["meminfo"].(map[string]any)
			if got.Process["num_fds"].(float64) < 1 || mem["rss_bytes"].(float64) < 1<<20 || mem["vsz_bytes"].(float64) < mem["rss_bytes"].(float64) ||
				cpu["num_threads"].(float64) < 1 || cpu["user_time"] == nil || cpu["system_time"] == nil || got.Process["uptime"] == nil {
				t.Errorf("%+v", got.Process)
			}
		}
		// The other format and other readers do not affect the periods of this one.
		reg.Gauge("queue_len").Set(100)
		reg.Gauge("queue_len").Set(5)
		get(t, p, "/metrics")
		reg.NewReader()
		if got := getJSON(t, p); got.MaxGauges["queue_len"] != 100 || got.MinGauges["queue_len"] != 5 {
			t.Errorf("%+v", got)
		}
		if got := getJSON(t, p); got.MaxGauges["queue_len"] != 5 {
			t.Errorf("%+v", got)
		}
	})
}

func TestNoPasswords(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	url := strings.Replace(web.URL, "http://", "http://user:s3cret@", 1) + "/conf"
	c, err := apmon.OpenSources(t.Context(), conf.ParseSources(url), apmon.Options{StartEmpty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, c := range []*apmon.Client{c, client(t)} {
		p := New(metrics.New(), Options{Client: c})
		for _, body := range []string{get(t, p, "/status"), get(t, p, "/metrics"), get(t, p, "/status", "text/html")} {
			if strings.Contains(body, "s3cret") || !strings.Contains(body, "127.0.0.1") && body[0] == '{' {
				t.Error(body)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestMethodsAndFilter(t *testing.T) {
	t.Parallel()
	reg := metrics.New()
	local := New(reg, Options{})
	open := New(reg, Options{Filter: func(r *http.Request) bool { return r.Header.Get("Token") == "x" }})
	for _, tt := range []struct {
		page                *Page
		method, path, peer  string
		header, value       string
		code                int
		contentType, inBody string
	}{
		{local, "GET", "/", "127.0.0.1:1", "", "", 200, "application/json", `"process"`},
		{local, "GET", "/a/metrics", "[::1]:1", "", "", 200, "text/plain; version=0.0.4; charset=utf-8", "# TYPE apmon_metrics_ignored_total counter\n"},
		{local, "HEAD", "/metrics", "127.0.0.1:1", "", "", 200, "text/plain; version=0.0.4; charset=utf-8", ""},
		{local, "HEAD", "/", "127.0.0.1:1", "", "", 200, "application/json", ""},
		{local, "POST", "/", "127.0.0.1:1", "", "", 405, "", "GET and HEAD"},
		{local, "OPTIONS", "/", "127.0.0.1:1", "", "", 405, "", ""},
		{local, "DELETE", "/metrics", "127.0.0.1:1", "", "", 405, "", ""},
		{local, "GET", "/", "192.0.2.1:1", "", "", 403, "", ""},
		{local, "POST", "/", "192.0.2.1:1", "", "", 403, "", ""},
		{local, "GET", "/metrics", "127.0.0.1:1", "X-Forwarded-For", "192.0.2.1", 403, "", ""},
		{local, "GET", "/", "127.0.0.1:1", "Forwarded", "for=_hidden", 403, "", ""},
		{local, "GET", "/", "127.0.0.1:1", "X-Real-Ip", "::1%lo", 403, "", ""},
		{local, "GET", "/", "127.0.0.1:1", "Host", "evil.example", 403, "", ""},
		{local, "GET", "/metrics", "127.0.0.1:1", "Sec-Fetch-Site", "cross-site", 403, "", ""},
		{local, "GET", "/", "127.0.0.1:1", "Origin", "http://evil.example", 403, "", ""},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8", 200, "text/html; charset=utf-8", "<h2>Process</h2>"},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "application/json, text/html", 200, "application/json", ""},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "text/html;q=0", 200, "application/json", ""},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "application/json;q=0.5, text/html", 200, "text/html; charset=utf-8", ""},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "text/html; level=1; q=0.1, application/json", 200, "application/json", ""},
		{local, "GET", "/", "127.0.0.1:1", "Accept", "Text/HTML;charset=utf-8;Q=0.9, */*;q=0.8", 200, "text/html; charset=utf-8", ""},
		{local, "GET", "/metrics", "127.0.0.1:1", "Accept", "text/html", 200, "text/plain; version=0.0.4; charset=utf-8", ""},
		{local, "GET", "/?file=/static/none.js", "127.0.0.1:1", "", "", 404, "", ""},
		{open, "GET", "/", "192.0.2.1:1", "Token", "x", 200, "application/json", ""},
		{open, "GET", "/", "127.0.0.1:1", "Token", "y", 403, "", ""},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.RemoteAddr, r.Host = tt.peer, "127.0.0.1:80"
		if tt.header == "Host" {
			r.Host = tt.value
		}
		if tt.header != "" {
			r.Header.Set(tt.header, tt.value)
		}
		w := httptest.NewRecorder()
		tt.page.ServeHTTP(w, r)
		if w.Code != tt.code || tt.contentType != "" && w.Header().Get("Content-Type") != tt.contentType || !strings.Contains(w.Body.String(), tt.inBody) {
			t.Errorf("%+v: %d %v %s", tt, w.Code, w.Header(), w.Body)
		}
		if w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%+v: %v", tt, w.Header())
		}
		if tt.code == 405 && w.Header().Get("Allow") != "GET, HEAD" || tt.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("%+v: %v %s", tt, w.Header(), w.Body)
		}
	}
}

// TestServed requests pages from a real server, over TCP and over a unix socket.
func TestServed(t *testing.T) {
	t.Parallel()
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Skip(err)
		}
		server := &http.Server{Handler: New(metrics.New(), Options{})}
		served := make(chan struct{})
		go func() { server.Serve(l); close(served) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		}}
		for header, want := range map[string]int{"": 200, "127.0.0.1": 200, "8.8.8.8": 403} {
			r, _ := http.NewRequest("GET", "http://localhost/status", nil)
			if header != "" {
				r.Header.Set("X-Forwarded-For", header)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s, forwarded for %q: %d", network, header, resp.StatusCode)
			}
		}
		transport.CloseIdleConnections()
		server.Close()
		<-served
	}
}

// hostile returns a page with names that are invalid in Prometheus.
func hostile(c *apmon.Client) *Page {
	reg := metrics.New()
	stats := httpstats.New(httpstats.Options{})
	p := New(reg, Options{Client: c, HTTP: stats})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") })
	stats.Wrap(mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/7", nil))
	reg.Gauge("queueWait_ms").Set(250)
	reg.Gauge("memory").Set(4)
	reg.Describe("memory", "KB", "Of all.")
	reg.Gauge("max_temperature").Set(3)
	reg.Measure("answer").Observe(1.5)
	reg.Describe("answer", "ms", "Time of an answer.")
	for i, name := range []string{"ms", "%", "_", "ms_of", "minutes_open", "open_minutes_of", "gauge", "my_gauge", "a_h", "size_kb", "x_bucket", "gauge_count"} {
		reg.Gauge(name).Set(float64(i))
		reg.Counter(name + "_seen").Add(1)
	}
	for _, name := range []string{"requests", "a b", "a-b", "a_b", "a_b_2", "1st", "Größe", "x\ny\\", "bad\xffutf8", "with:colon", `quote"d`, "sum_total", "process_open_fds", "apmon_messages"} {
		reg.Counter(name).Add(3)
	}
	reg.Gauge("requests_total").Set(-1.5e300)
	reg.Gauge("a.b").Set(0.1)
	reg.Measure("lookup").Observe(2)
	reg.Cache("names").Hit()
	reg.AddFunc(func(add func(apmon.Param)) {
		add(apmon.Int("a+b", 1))
		add(apmon.String("state", "not a number"))
	})
	return p
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	c := client(t)
	for range 2 {
		if _, err := metrics.Publish(c, metrics.New(), metrics.PublishOptions{}); err != nil { // two sources of one name
			t.Fatal(err)
		}
	}
	p := hostile(c)
	body := get(t, p, "/metrics")
	got := parseExposition(t, body)
	for series, want := range map[string]float64{
		"requests_total": 3, "ab_total": 3, "ab_2_total": 3, "ab_3_total": 3, "ab_2_2_total": 3, "_1st_total": 3, "gr_e_total": 3, "x_y_total": 3,
		"bad_utf8_total": 3, "with_colon_total": 3, "quoted_total": 3, "sum_total": 3, "process_open_fds_total": 3, "requests": -1.5e300,
		"ab": 0.1, "ab_2": 1, "lookup_sum": 2, "lookup_count": 1, `lookup_bucket{le="1"}`: 0, `lookup_bucket{le="2"}`: 1, `lookup_bucket{le="+Inf"}`: 1,
		"names_hits_total": 1, "names_misses_total": 0, "queue_wait_seconds": 0.25, "memory_bytes": 4096, "max_temperature": 3,
		`answer_seconds_bucket{le="0.001"}`: 0, `answer_seconds_bucket{le="0.002"}`: 1, "answer_seconds_sum": 0.0015, "answer_seconds_count": 1,
		`http_requests_total{code="200",method="GET",route="/users/{id}"}`: 1, "http_request_duration_seconds_count": 1, "http_response_bytes_total": 2,
		"http_requests_in_flight": 0, "http_requests_local_total": 0, "http_requests_private_total": 0,
		`apmon_destination_sent_total{destination="127.0.0.1:1"}`: 0, "apmon_messages_total": 0, `apmon_reports_total{source="metrics"}`: 0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s: %v (present: %v), want %v", series, v, ok, want)
		}
	}
	if strings.Contains(body, "state") {
		t.Error("a text in it")
	}
	for _, w := range []string{`# HELP x_y_total The counter x\ny\\ of the program.`, "# TYPE requests_total counter\n", "# TYPE lookup histogram\n", "# HELP memory_bytes Of all.\n"} {
		if !strings.Contains(body, w) {
			t.Errorf("no %q in\n%s", w, body)
		}
	}
}

// Restarts are seen by a change of the start time: it is the same in all scrapes.
func TestStartTime(t *testing.T) {
	t.Parallel()
	starts := map[float64]bool{}
	for range 20 {
		starts[parseExposition(t, get(t, New(metrics.New(), Options{}), "/metrics"))["process_start_time_seconds"]] = true
	}
	for start := range starts {
		if len(starts) > 1 || math.Abs(float64(time.Now().Unix())-start) > 3600 {
			t.Errorf("start times %v", starts)
		}
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	t.Parallel()
	e := &exposition{used: map[string]bool{}}
	e.sender(apmon.Stats{
		Destinations: []apmon.DestinationStats{{Name: "a\"b\\c\nd\xff", Sent: 7}},
		Reports:      []apmon.ReportStats{{Name: "s", Reports: 1}, {Name: "s", Reports: 2, Skipped: 1}},
	})
	got := parseExposition(t, e.String())
	if got[`apmon_destination_sent_total{destination="a\"b\\c\nd`+"\ufffd"+`"}`] != 7 || got[`apmon_reports_total{source="s"}`] != 3 || got[`apmon_reports_skipped_total{source="s"}`] != 1 {
		t.Errorf("%v", got)
	}
}

var (
	helpLine   = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\\n]|\\\\|\\n)*$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^(([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?:,?[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\n|\\")*")+\})?) ([^ ]+)$`)
)

// parseExposition is stricter than the format: each family is one block of HELP, TYPE and
// samples, no family or series occurs twice, and every value is a number.
func parseExposition(t testing.TB, text string) map[string]float64 {
	t.Helper()
	series, families := map[string]float64{}, map[string]bool{}
	if !strings.HasSuffix(text, "\n") {
		t.Error("no newline at the end")
	}
	family, helped, samples := "", "", 1
	parts := regexp.MustCompile(`_(bucket|sum|count)$`)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			helped = m[1]
			if families[helped] || samples == 0 {
				t.Errorf("%q: a duplicate, or after a family without samples", line)
			}
			families[helped] = true
		} else if m := typeLine.FindStringSubmatch(line); m != nil {
			family, samples = m[1], 0
			if family != helped {
				t.Errorf("%q without its HELP", line)
			}
		} else if m := sampleLine.FindStringSubmatch(line); m != nil {
			v, err := strconv.ParseFloat(m[3], 64)
			if _, twice := series[m[1]]; twice || m[2] != family && parts.ReplaceAllString(m[2], "") != family || err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
				t.Errorf("%q: twice (%v), not in its family (%s), or no number (%v)", line, twice, family, err)
			}
			series[m[1]] = v
			samples++
		} else {
			t.Errorf("neither HELP nor TYPE nor sample: %q", line)
		}
	}
	return series
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: ", err)
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(get(t, hostile(client(t)), "/metrics"))
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNothingOnTheDefaultMux(t *testing.T) {
	r := httptest.NewRequest("GET", "/debug/pprof/", nil)
	if _, pattern := http.DefaultServeMux.Handler(r); pattern != "" {
		t.Errorf("%s is registered", pattern)
	}
}

func BenchmarkJSON(b *testing.B) {
	p := hostile(nil)
	b.ReportAllocs()
	for b.Loop() {
		get(b, p, "/status")
	}
}
