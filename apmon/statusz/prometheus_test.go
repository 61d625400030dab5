package statusz

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/internal/testkit/prometheus"
)

// Two scrapers and a reader who reloads both formats do not take values from each other: the
// counter of each scraper is the number of requests sent, and rate() is that of the sender.
func TestPrometheusScrapes(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	reg := metrics.New()
	stats := httpstats.New(httpstats.Options{})
	page := New(reg, Options{HTTP: stats})
	app := http.NewServeMux()
	app.HandleFunc("GET /hello/{name}", func(http.ResponseWriter, *http.Request) {
		reg.Counter("greetings").Add(1)
		reg.Measure("answer").Start().Stop()
	})
	mux := http.NewServeMux()
	mux.Handle("/", stats.Wrap(app))
	mux.Handle("/a/metrics", page)
	mux.Handle("/b/metrics", page)
	mux.Handle("/status", page)
	server := httptest.NewServer(mux)
	defer server.Close()
	hello := func() {
		app := httptest.NewRequest("GET", "/hello/x", nil)
		mux.ServeHTTP(httptest.NewRecorder(), app)
	}
	hello() // a series exists before Prometheus takes its first value
	query := prometheus.Start(t, strings.TrimPrefix(server.URL, "http://"), "/a/metrics", "/b/metrics")

	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // F5
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				get(t, page, "/metrics")
				get(t, page, "/status")
			}
		}
	})
	const each = 50 * time.Millisecond
	sent, start := 1, time.Now()
	for time.Since(start) < 70*time.Second {
		hello()
		sent++
		time.Sleep(time.Until(start.Add(time.Duration(sent) * each)))
	}
	rate := 1 / each.Seconds()
	value := func(promql string) float64 {
		text := query(promql)
		v, err := strconv.ParseFloat(text[strings.LastIndexByte(text, ' ')+1:], 64)
		if err != nil {
			return math.NaN()
		}
		return v
	}
	for _, job := range []string{"/a/metrics", "/b/metrics"} {
		labels := fmt.Sprintf(`{job=%q,code="200",method="GET",route="/hello/{name}"}`, job)
		got := value(`rate(http_requests_total` + labels + `[1m])`)
		if math.Abs(got-rate) > .05*rate {
			t.Errorf("%s: rate %v, want %v", job, got, rate)
		}
		testkit.Eventually(t, "the last scrape", func() bool { return value(`http_requests_total`+labels) == float64(sent) })
		for _, promql := range []string{fmt.Sprintf(`greetings_total{job=%q}`, job), fmt.Sprintf(`answer_seconds_count{job=%q}`, job), fmt.Sprintf(`http_request_duration_seconds_count{job=%q}`, job)} {
			// On a busy machine a scrape may fail, after which there is no value.
			testkit.Eventually(t, promql, func() bool { return value(promql) == float64(sent) })
		}
	}
	close(stop)
	others.Wait()
	server.CloseClientConnections()
	http.DefaultClient.CloseIdleConnections()
}
