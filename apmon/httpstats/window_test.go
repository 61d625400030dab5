package httpstats

import (
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

const none = -1

// do serves a request with a wrapped handler, in this goroutine.
func do(s *Stats, h http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Wrap(h).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w
}

func TestNothingIsKnownOfTheFirstSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		unknown := map[string]float64{
			"current_request_count": 0, "total_request_count": 0, "request_count_peak": 0, "request_count_peak_time": none,
			"mean_request_count": none, "current_request_rate": none, "mean_request_rate": none,
			"request_rate_peak": none, "request_rate_peak_time": none, "total_bytes_sent": 0,
			"current_bitrate": none, "mean_bitrate": none, "bitrate_peak": none, "bitrate_peak_time": none,
			"mean_read_ratio": none, "resp_2xx": 0, "resp_3xx": 0, "resp_4xx": 0, "resp_5xx": 0,
			"duration_min": none, "duration_avg": none, "duration_max": none, "duration_p50": none, "duration_p90": none, "duration_p99": none,
			"localhost_requests": 0, "private_requests": 0, "server_uptime": 0,
		}
		expect(t, s, unknown)
		if len(unknown) != len(Metrics()) {
			t.Errorf("%d parameters, want %d", len(Metrics()), len(unknown))
		}
		time.Sleep(time.Second - 1)
		expect(t, s, map[string]float64{"mean_request_rate": 0, "current_request_rate": none})
		time.Sleep(time.Nanosecond)
		expect(t, s, map[string]float64{
			"mean_request_count": 0, "current_request_rate": 0, "mean_request_rate": 0, "request_rate_peak": 0,
			"request_rate_peak_time": none, "current_bitrate": 0, "mean_bitrate": 0, "bitrate_peak": 0,
			"bitrate_peak_time": none, "duration_min": none, "server_uptime": 1,
		})
	})
}

func TestRatesSinceTheLastReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := New(Options{})
		send := func(n, bytes int) {
			for range n {
				do(s, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, bytes)) })
			}
		}
		send(3, 100)
		time.Sleep(time.Second)
		send(5, 10) // second 1
		time.Sleep(time.Second)
		send(1, 1) // second 2, which is not over
		expect(t, s, map[string]float64{
			"current_request_rate": 5, "mean_request_rate": 4.5, "request_rate_peak": 5,
			"request_rate_peak_time": float64(start.Unix() + 1),
			"current_bitrate":        400, "mean_bitrate": 8 * 351 / 2, "bitrate_peak": 2400,
			"bitrate_peak_time":   float64(start.Unix()),
			"total_request_count": 9, "total_bytes_sent": 351, "resp_2xx": 9,
		})
		send(1, 1) // after the report
		time.Sleep(8 * time.Second)
		expect(t, s, map[string]float64{"current_request_rate": 0, "mean_request_rate": 0.125, "mean_bitrate": 1})
		time.Sleep(time.Second)
		expect(t, s, map[string]float64{"mean_request_rate": 0, "mean_bitrate": 0})
		time.Sleep(99 * time.Second)
		send(5, 300/5)
		time.Sleep(time.Second)
		expect(t, s, map[string]float64{
			"current_request_rate": 5, "mean_request_rate": 0.05, "mean_bitrate": 24,
			// The first time counts.
			"request_rate_peak_time": float64(start.Unix() + 1), "bitrate_peak_time": float64(start.Unix()),
		})
	})
}

// The peak includes the seconds between two reports.
func TestPeakBetweenReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		time.Sleep(40*time.Second + 300*time.Millisecond)
		began := time.Now().Unix()
		for range 7 {
			do(s, func(http.ResponseWriter, *http.Request) {})
		}
		time.Sleep(2 * time.Minute)
		expect(t, s, map[string]float64{"request_rate_peak": 7, "request_rate_peak_time": float64(began), "current_request_rate": 0})
	})
}

func TestRequestsInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		time.Sleep(500 * time.Millisecond)
		lasting := func(d time.Duration) {
			go do(s, func(http.ResponseWriter, *http.Request) { time.Sleep(d) })
		}
		lasting(2 * time.Second) // 0.5 to 2.5
		lasting(time.Second)     // 0.5 to 1.5
		synctest.Wait()
		at := time.Now().Unix()
		time.Sleep(500 * time.Millisecond)
		expect(t, s, map[string]float64{"current_request_count": 2, "mean_request_count": 1, "request_count_peak": 2})
		time.Sleep(2 * time.Second)
		expect(t, s, map[string]float64{
			"current_request_count": 0, "mean_request_count": 1, "request_count_peak": 2, "request_count_peak_time": float64(at),
			"duration_min": 1000, "duration_avg": 1500, "duration_max": 2000,
		})
		time.Sleep(time.Second)
		expect(t, s, map[string]float64{"mean_request_count": 0, "duration_min": none, "duration_avg": none, "duration_max": none})

		lasting(10 * time.Minute)
		time.Sleep(5 * time.Minute)
		expect(t, s, map[string]float64{"current_request_count": 1, "mean_request_count": 1, "total_request_count": 3, "resp_2xx": 2})
		time.Sleep(5 * time.Minute)
	})
}

func TestBytesCountAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		go do(s, func(w http.ResponseWriter, _ *http.Request) {
			for range 20 {
				io.WriteString(w, strings.Repeat("x", 1000))
				time.Sleep(time.Second)
			}
		})
		time.Sleep(12*time.Second + 1)
		expect(t, s, map[string]float64{"current_bitrate": 8000, "total_bytes_sent": 13000, "resp_2xx": 0})
		time.Sleep(20 * time.Second)
		expect(t, s, map[string]float64{"current_bitrate": 0, "bitrate_peak": 8000, "total_bytes_sent": 20000, "resp_2xx": 1})
	})
}

func TestTimeGoesBack(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	// The goroutine that read the clock first takes the lock second.
	s.begun(&response{began: 3*time.Second + 500*time.Millisecond}, false, false)
	s.begun(&response{began: 2*time.Second + 900*time.Millisecond}, false, false)
	if one := s.slot(3); one.begun != 2 || s.at != 3500*time.Millisecond {
		t.Errorf("%+v at %v", one, s.at)
	}
}

// The sum of all durations never goes down, however many requests last however long.
func TestLongDurations(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	seconds := s.Snapshot().Seconds
	for range 3 {
		w := &response{s: s}
		s.begun(w, false, false)
		s.finished(w, 200*365*24*time.Hour, route{}, -1)
		now := s.Snapshot().Seconds
		if math.Abs(now-seconds-200*365*86400) > 1 {
			t.Errorf("%v s after %v s", now, seconds)
		}
		seconds = now
		expect(t, s, map[string]float64{"duration_avg": 200 * 365 * 86400e3})
	}
}

func TestReadRatio(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	get := func(method string, status int, header, value string, bytes int) {
		w := httptest.NewRecorder()
		s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			if status != 200 {
				w.WriteHeader(status)
			}
			w.Write(make([]byte, bytes))
		})).ServeHTTP(w, httptest.NewRequest(method, "/", nil))
	}
	get("GET", 200, "Content-Length", "65536", 10)
	get("GET", 200, "X-Other", "1", 100_000)
	get("HEAD", 200, "Content-Length", "100000", 100)
	get("GET", 404, "Content-Length", "100000", 100)
	get("GET", 206, "Content-Range", "bytes 0-99/*", 100)
	get("GET", 206, "Content-Range", "bytes 0-9999/bad", 100)
	expect(t, s, map[string]float64{"mean_read_ratio": none})
	get("GET", 200, "Content-Length", "100000", 50_000)
	expect(t, s, map[string]float64{"mean_read_ratio": 0.5})
	get("GET", 206, "Content-Range", "bytes 0-249999/1000000", 250_000)
	get("GET", 200, "Content-Length", "100000", 200_000) // more than the resource
	expect(t, s, map[string]float64{"mean_read_ratio": 0.625})
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][3]int64{
		"bytes 0-99/1234": {0, 99, 1234},
		"bytes 5-5/*":     {5, 5, -1},
		"bytes */1234":    {-1, -1, -1},
		"bytes 9-5/10":    {-1, -1, -1},
		"bytes -1-5/10":   {-1, -1, -1},
		"lines 0-1/2":     {-1, -1, -1},
		"":                {-1, -1, -1},
		"bytes 0-99":      {-1, -1, -1},
		"bytes 0-99999999999999999999/99999999999999999999 ": {-1, -1, -1},
	} {
		if a, b, c := parseRange(in); [3]int64{a, b, c} != want {
			t.Errorf("%q: %d %d %d", in, a, b, c)
		}
	}
}
