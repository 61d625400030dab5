package prom

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestNegotiation(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	s.offer("C", "N", number("a", 1))
	const text, om = "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"
	for _, c := range []struct{ accept, want string }{
		{"", text},
		{"*/*", text},
		{"text/html", text},
		{"text/plain;version=0.0.4", text},
		{"application/openmetrics-text;version=1.0.0", om},
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", om}, // Prometheus 2.42
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", om},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", text},
		{"text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5", text},
	} {
		req := httptest.NewRequest("GET", "/metrics", nil)
		req.Header.Set("Accept", c.accept)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %q, want %q", c.accept, got, c.want)
		}
		if strings.HasSuffix(w.Body.String(), "# EOF\n") != (c.want == om) {
			t.Errorf("%q: the end mark is wrong", c.accept)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	s.fill(1000)
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP ;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0, br": false, "zstd,br": false, "gzip;q=x": false,
	} {
		for range 2 {
			req := httptest.NewRequest("GET", "/metrics", nil)
			req.Header.Set("Accept-Encoding", accept)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			body, zipped := w.Body.String(), w.Header().Get("Content-Encoding") == "gzip"
			if zipped != want {
				t.Errorf("%q: compressed %v", accept, zipped)
			}
			if zipped {
				body = gunzip(t, w.Body.Bytes())
			}
			if n := s.parse(t, body, plainText); n[paramMetric] != 1000 {
				t.Errorf("%q: %v", accept, n)
			}
		}
	}
}

// stuck is a response that does not go on before it may.
type stuck struct {
	discard
	writes, proceed chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	s.writes <- struct{}{}
	<-s.proceed
	return s.discard.Write(b)
}

// Slow readers hold renderings; a scrape that finds no room waits, and then gets an error.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTestStore(t, Options{})
		s.fill(10)
		var wg sync.WaitGroup
		slow := &stuck{discard: *newDiscard(), writes: make(chan struct{}), proceed: make(chan struct{})}
		for range maxRenderings {
			wg.Go(func() {
				w := *slow
				s.ServeHTTP(&w, newRequest())
			})
			<-slow.writes
		}
		begin := time.Now()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, newRequest())
		if w.Code != http.StatusServiceUnavailable || time.Since(begin) != maxWait || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d after %v", w.Code, time.Since(begin))
		}
		wg.Go(func() {
			if text := s.scrape(t, plainText); !strings.Contains(text, "parameter_9") {
				t.Errorf("%s", text)
			}
		})
		synctest.Wait()
		close(slow.proceed)
		wg.Wait()
		s.scrape(t, plainText)
		if len(s.slots) != 0 || len(s.free) > maxRenderings || s.pending[0] != nil || s.pending[1] != nil {
			t.Errorf("%d in use, %d free", len(s.slots), len(s.free))
		}
	})
}

// Scrapes at the same time share a rendering.
func TestScrapesShareARendering(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	s.fill(1000)
	const scrapes = 20
	s.Exporter.rendering.Lock() // the first begins, and waits
	var wg sync.WaitGroup
	for range scrapes {
		wg.Go(func() {
			if n := s.parse(t, s.scrape(t, openMetrics), openMetrics); n[paramMetric] != 1000 {
				t.Errorf("%v", n)
			}
		})
	}
	testkit.Eventually(t, "all scrapes to wait", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending[openMetrics] != nil && s.pending[openMetrics].users == scrapes
	})
	s.Exporter.rendering.Unlock()
	wg.Wait()
	if n := s.renderings.Load(); n != 1 {
		t.Errorf("%d renderings", n)
	}
}

// Scrapes of both formats, datagrams, reloads, and series that end, all at once.
func TestConcurrentScrapes(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	stop := make(chan struct{})
	var wg, scrapes sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s.Offer("C", fmt.Sprint("N", i%50), []xdr.Param{number("a1", 1), number("a2", 2), xdr.String("t", "x")}, time.Now(), 0)
		}
	})
	for g := range 4 {
		scrapes.Go(func() {
			for i := range 50 {
				f := format(i % 2)
				s.parse(t, s.scrape(t, f), f)
				if g == 0 && i%10 == 0 {
					if err := s.SetOptions(Options{Metrics: []Rule{{Param: "a1", Name: fmt.Sprint("a", i)}, {Param: "a*", Name: fmt.Sprint("a", i)}, {Param: "t", Name: "t_info", Type: "info"}}}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	scrapes.Wait()
	close(stop)
	wg.Wait()
}

func TestOwnMetrics(t *testing.T) {
	t.Parallel()
	store := history.New(history.Options{MaxSeries: 1})
	at := time.UnixMilli(1_700_000_000_500)
	in, err := nats.NewConsumer(nats.ConsumeOptions{Server: nats.Server{URL: "nats://u:secret@a"}}, nats.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(store, Options{}, Sources{
		Version: "2.2.20",
		Reload:  func() (bool, time.Time) { return false, at },
		Windows: func() history.WindowStats {
			return history.WindowStats{Series: 21, Points: 22, Bytes: 23, MaxBytes: 24, Span: 90 * time.Minute, DroppedPoints: 25, DroppedSeries: 26}
		},
		Receiver: func() receiver.Stats {
			return receiver.Stats{Counts: receiver.Counts{Received: 1, Refused: 2, Lost: 3}, Refusals: receiver.Refusals{Access: 2}, ActiveSenders: 7, Dropped: 4, KernelDropped: 5, KernelKnown: true, Expired: 6}
		},
		Inputs:   func() []*nats.Consumer { return []*nats.Consumer{in, in} },
		Filtered: func() (datagrams, params uint64) { return 8, 9 },
		Outputs: func() []output.Stats {
			return []output.Stats{
				{Output: "influx http://a", Sent: 1, Dropped: map[string]uint64{"too_old": 2}, Error: "down"},
				{Output: "influx http://a", Sent: 10, Dropped: map[string]uint64{"too_old": 20}, Duplicate: 8, Hold: time.Second},
				{Output: "record \xff", Queued: 7},
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &testStore{store, e, time.Now()}
	s.offer("C", "N", number("a", 1), number("b", 2))
	s.offer("\xff", "N", number("a", 1))
	for f := range formats {
		text := s.scrape(t, f)
		s.parse(t, text, f)
		for _, want := range []string{
			`apmon_recv_build_info{version="2.2.20"} 1`,
			`apmon_recv_config_last_reload_successful 0`,
			`apmon_recv_config_last_reload_success_timestamp_seconds 1.7000000005e+09`,
			`apmon_recv_datagrams_received_total 1`,
			`apmon_recv_datagrams_refused_total{cause="access"} 2`,
			`apmon_recv_senders 7`,
			`apmon_recv_datagrams_lost 3`,
			`apmon_recv_datagrams_dropped_total{cause="queue_full"} 4`,
			`apmon_recv_datagrams_dropped_total{cause="kernel"} 5`,
			`apmon_recv_senders_forgotten_total{cause="expired"} 6`,
			`apmon_recv_output_datagrams_sent_total{output="influx http://a"} 11`,
			`apmon_recv_output_datagrams_dropped_total{cause="too_old",output="influx http://a"} 22`,
			`apmon_recv_output_datagrams_duplicate_total{output="influx http://a"} 8`,
			`apmon_recv_output_up{output="influx http://a"} 0`,
			`apmon_recv_filtered_datagrams_total 8`,
			`apmon_recv_filtered_params_total 9`,
			`apmon_recv_input_active_partitions{input="from-nats nats://a APMON"} 0`,
			`apmon_recv_output_up{output="record \\xff"} 1`,
			`apmon_recv_output_queued_datagrams{output="record \\xff"} 7`,
			`apmon_recv_series 1`,
			`apmon_recv_values_refused_total{cause="series"} 2`,
			`apmon_recv_cluster_values_refused{cluster="\\xff"} 1`,
			`apmon_recv_series_unexported{cause="clash"} 0`,
			`apmon_recv_history_span_seconds 5400`,
			`apmon_recv_history_series 21`,
			`apmon_recv_history_points 22`,
			`apmon_recv_history_memory_bytes 23`,
			`apmon_recv_history_memory_limit_bytes 24`,
			`apmon_recv_history_dropped_points_total 25`,
			`apmon_recv_history_dropped_series_total 26`,
		} {
			name, value, _ := strings.Cut(want, " ")
			if f == openMetrics && !strings.ContainsAny(value, ".{}") && !strings.Contains(want, "{output=\"") {
				want = name + " " + value + ".0" // as client_golang writes it
			}
			if !strings.Contains(text, want+"\n") && !strings.Contains(text, want+".0\n") {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
	}
	promtool(t, s.scrape(t, plainText))
	documented(t, s)
}

// documented fails unless docs/receiver.md lists exactly our own metrics, with their labels.
func documented(t *testing.T, s *testStore) {
	t.Helper()
	doc, err := os.ReadFile("../../../../docs/receiver.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := s.own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "apmon_recv_") {
			continue // of Go and the process
		}
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		exported[name] = true
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(apmon_recv_[^`]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		listed[m[1]] = true
	}
	if diff := cmp.Diff(exported, listed); diff != "" {
		t.Errorf("docs/receiver.md does not list the metrics (- exported, + listed):\n%s", diff)
	}
}

// The bar: valid, and within a second, with 100 000 clusters, 1 000 000 series, and names of
// 32 KB; memory within the limits.
func TestLongHostileLoad(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector takes too much memory")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	long := make([]byte, xdr.MaxString)
	for i := range long {
		long[i] = byte(rnd.Uint32())
	}
	rules := Options{Metrics: []Rule{
		{Param: "x*", Name: "x", Labels: map[string]string{"p": "$1"}},
		{Param: "*_R", Name: "$1"},
		{MatchType: "regex", Param: "(.*)[0-9](.*)", Cluster: "D(.*)", Name: "y", Labels: map[string]string{"a": "$1", "b": "$2"}},
	}}
	for _, c := range []struct {
		name    string
		limits  history.Options
		offer   func(s *testStore, i int)
		offers  int
		atLeast int           // series
		within  time.Duration // of CPU time
	}{
		{"clusters", history.Options{}, func(s *testStore, i int) {
			s.offer(fmt.Sprint("forged", i), "N", number("a", 1))
		}, 100_000, 50_000, time.Second},
		{"series", history.Options{}, func(s *testStore, i int) {
			s.offer(fmt.Sprint("C", i%100), "N", number(fmt.Sprint("x", i), 1), number(fmt.Sprint("D", i), 2), number(fmt.Sprint("m", i, "_R"), 3))
		}, 333_333, 30_000, time.Second},
		{"series of one node", history.Options{}, func(s *testStore, i int) {
			s.offer("C", "N", number(fmt.Sprint("x", i), 1), number(fmt.Sprint("x", i, "_R"), 3))
		}, 500_000, 50_000, time.Second},
		{"a million series permitted", history.Options{MaxSeries: 1_000_000, MaxBytes: 400 << 20}, func(s *testStore, i int) {
			s.offer("C", fmt.Sprint("N", i%1000), number(fmt.Sprint("parameter_", i/1000), float64(i)))
		}, 1_000_000, 1_000_000, 4 * time.Second}, // ten times the default
		{"long names", history.Options{}, func(s *testStore, i int) {
			rnd := func() string { return fmt.Sprint(i) + string(long[i%100*100:]) }
			s.offer(rnd(), rnd(), number("x"+rnd(), 1), number(rnd(), 2), number(rnd()+"_R", 3), xdr.String("t", rnd()))
			s.offer("D"+rnd(), "N", number(rnd(), 2))
		}, 10_000, 50, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := testkit.Heap()
			store := history.New(c.limits)
			e, err := New(store, rules, Sources{})
			if err != nil {
				t.Fatal(err)
			}
			s := &testStore{store, e, time.Now()}
			for i := range c.offers {
				c.offer(s, i)
			}
			// CPU time: other processes of the machine do not count.
			scrape := func() time.Duration {
				cpu := cpuTime()
				s.ServeHTTP(newDiscard(), newRequest())
				return cpuTime() - cpu
			}
			first := scrape() // it resolves the rules
			again := min(scrape(), scrape(), scrape())
			text := s.scrape(t, openMetrics)
			s.parse(t, text, openMetrics)
			st, size := store.Stats(), len(text)
			text = ""
			taken := testkit.Heap() - before
			t.Logf("%d series, %d MB of exposition; CPU time of the first scrape %v, later %v; heap %d MB; %+v",
				st.Series, size>>20, first, again, taken>>20, s.Unexported())
			if st.Series < c.atLeast {
				t.Errorf("%+v", st)
			}
			if max(first, again) > c.within {
				t.Errorf("a scrape takes %v, then %v", first, again)
			}
			if limit := 2*st.MaxBytes + 16<<20; taken > limit {
				t.Errorf("%d bytes are in use, limit %d", taken, limit)
			}
			runtime.KeepAlive(s)
		})
	}
}
