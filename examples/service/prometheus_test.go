package main

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/internal/testkit/prometheus"
)

// Two scrapers and a person who reloads the pages do not take values from each other: the
// difference of the counter of each scraper is the number of requests sent, and rate() is that
// of the sender.
func TestPrometheus(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	url := start(t, apmontest.New(t), "-load", "0")
	get(t, url+"/hello") // a series exists before Prometheus takes its first value
	type scraper func(promql string) float64
	var scrapers []scraper
	for range 2 {
		query := prometheus.Start(t, strings.TrimPrefix(url, "http://"), "/metrics")
		scrapers = append(scrapers, func(promql string) float64 {
			text := query(promql)
			v, err := strconv.ParseFloat(text[strings.LastIndexByte(text, ' ')+1:], 64)
			if err != nil {
				return math.NaN() // on a busy machine a scrape may fail, after which there is no value
			}
			return v
		})
	}
	const requests = `http_requests_total{code="200",method="GET",route="/hello"}`
	for _, value := range scrapers {
		testkit.Eventually(t, "the first scrape", func() bool { return value(requests) == 1 })
	}

	stop := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(stop)
	others.Go(func() { // F5
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			for path, accept := range map[string]string{"/metrics": "text/plain", "/status": "application/json", "/status?reload": "text/html"} {
				r, err := http.NewRequest("GET", url+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Accept", accept)
				resp, err := http.DefaultClient.Do(r)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %v", path, err)
					return
				}
				resp.Body.Close()
			}
		}
	})
	const each = 50 * time.Millisecond
	sent, begin := 0, time.Now()
	for time.Since(begin) < 70*time.Second {
		get(t, url+"/hello")
		sent++
		time.Sleep(time.Until(begin.Add(time.Duration(sent) * each)))
	}
	rate := 1 / each.Seconds()
	for i, value := range scrapers {
		if got := value(`rate(` + requests + `[1m])`); !(math.Abs(got-rate) <= .05*rate) {
			t.Errorf("scraper %d: rate %v, want %v", i, got, rate)
		}
		for _, promql := range []string{requests, "greetings_total", "answer_seconds_count"} {
			testkit.Eventually(t, promql, func() bool { return value(promql)-1 == float64(sent) })
		}
	}
}
