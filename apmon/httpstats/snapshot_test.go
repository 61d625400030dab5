package httpstats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/internal/testkit"
)

// A report every 120 s covers the requests of 120 s, whatever others read in between.
func TestReportsCoverTheirPeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		seldom, often := s.NewReader(), s.NewReader()
		for i := range 120 {
			do(s, func(w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Duration(i+1) * time.Millisecond) })
			time.Sleep(time.Second - time.Duration(i+1)*time.Millisecond)
			if i%10 == 9 {
				if v := often.sample(); v.ended.count != 10 || v.most != time.Duration(i+1)*time.Millisecond || v.least != v.most-9*time.Millisecond {
					t.Errorf("%+v", v)
				}
			}
		}
		params, err := seldom.Collect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, p := range params {
			got[p.Name] = p.Float()
		}
		for name, want := range map[string]float64{"http_duration_min": 1, "http_duration_avg": 60.5, "http_duration_max": 120,
			"http_duration_p50": 60, "http_duration_p90": 108, "http_duration_p99": 119, "http_mean_request_rate": 1} {
			if math.Abs(got[name]-want) > .02*want {
				t.Errorf("%s: %v, want %v", name, got[name], want)
			}
		}
	})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := New(Options{IdleLimit: time.Hour}) // which gives the handler a copy of the request
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("PUT \t /spaced", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("POST\t/tab", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("/any", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) })
	h := s.Wrap(mux)
	for _, request := range []string{"GET /users/1", "GET /users/2", "HEAD /users/3", "GET /any", "BREW /any", "GET /none?x", "PUT /spaced", "POST /tab"} {
		method, path, _ := strings.Cut(request, " ")
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
	}
	want := []Route{{"", "GET", 404, 1}, {"/any", "GET", 201, 1}, {"/any", "other", 201, 1}, {"/spaced", "PUT", 200, 1}, {"/tab", "POST", 200, 1}, {"/users/{id}", "GET", 200, 2}, {"/users/{id}", "HEAD", 200, 1}}
	if d := cmp.Diff(want, s.Snapshot().Routes); d != "" {
		t.Error(d)
	}
	for i := range 3000 {
		s.routes.count(route{fmt.Sprint("/", i), "GET", 200})
	}
	if n := len(s.Snapshot().Routes); n != maxRoutes+1 {
		t.Errorf("%d routes", n)
	}
}

// Readers and snapshots never see a part of the end of a request: the buckets have as many
// requests as the routes and classes, and a period with requests has percentiles.
func TestNothingIsHalfCounted(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do(s, func(http.ResponseWriter, *http.Request) { runtime.Gosched() })
				}
			}
		})
	}
	defer busy.Wait()
	defer close(stop)
	rd := s.NewReader()
	for range 5000 {
		if v := rd.sample(); v.ended.count > 0 && math.IsNaN(v.percentiles[0]) {
			t.Fatalf("%d requests without percentiles", v.ended.count)
		}
	}
	for range 500 {
		v := s.Snapshot()
		runtime.Gosched()
		var inBuckets, inRoutes uint64
		for _, n := range v.Buckets {
			inBuckets += n
		}
		for _, r := range v.Routes {
			inRoutes += r.Count
		}
		if inBuckets != inRoutes || v.Requests-uint64(v.InProgress) != inRoutes || len(v.Active) != int(v.InProgress) {
			t.Fatalf("%d in buckets, %d in routes, %+v", inBuckets, inRoutes, v)
		}
	}
}

// Requests in progress are listed, and can be ended, over HTTP/1 and HTTP/2, with and without
// an idle limit.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{0, time.Hour} {
		for _, two := range []bool{false, true} {
			t.Run(fmt.Sprint(limit, two), func(t *testing.T) {
				t.Parallel()
				records := make(chan *Record, 10)
				s := New(Options{IdleLimit: limit, Log: []func(*Record){func(r *Record) { records <- r }}})
				cause := make(chan error, 1)
				server := httptest.NewUnstartedServer(s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "begun")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					cause <- context.Cause(r.Context())
				})))
				server.Config.ErrorLog = quiet
				server.EnableHTTP2 = two
				if two {
					server.StartTLS()
				} else {
					server.Start()
				}
				defer server.Close()
				resp, err := server.Client().Get(server.URL + "/long?secret")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				io.ReadFull(resp.Body, make([]byte, 5))
				list := s.Snapshot().Active
				if len(list) != 1 || list[0].Path != "/long" || list[0].Method != "GET" || list[0].Client != "127.0.0.1" || list[0].Bytes != 5 || time.Since(list[0].Began) < 0 {
					t.Fatalf("%+v", list)
				}
				if s.End(list[0].ID+1) || !s.End(list[0].ID) {
					t.Error("ended another one")
				}
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Error("the response ended well")
				}
				if err := <-cause; limit > 0 && !errors.Is(err, ErrEnded) {
					t.Errorf("cause %v", err)
				}
				if r := <-records; r.Cause != CauseEnded || r.Bytes != 5 {
					t.Errorf("%+v", r)
				}
				if s.End(list[0].ID) || len(s.Snapshot().Active) != 0 {
					t.Error("it is still in progress")
				}
			})
		}
	}
}

// The record of a request that does not end well says why.
func TestCauses(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 10)
	s := New(Options{IdleLimit: testkit.Patience, Log: []func(*Record){func(r *Record) { records <- r }},
		AppendFields: func(f []Field, r *http.Request) []Field {
			return append(f, Field{"id", r.Header.Get("Id") + r.URL.Path}, Field{"status", "7"}, Field{"id", "twice"}, Field{"", "x"}, Field{"long", strings.Repeat("x", maxFields)})
		}})
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("oops")
		case "/aborted":
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}
	})
	for path, want := range map[string]string{"/good": "", "/panic": CausePanic} {
		fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // it would try again on a kept connection
		if resp, err := fresh.Get(server.URL + path); err == nil {
			resp.Body.Close()
		}
		r := <-records
		if r.Cause != want || !slices.Equal(r.Fields, []Field{{"id", path}}) {
			t.Errorf("%s: %+v", path, r)
		}
		line := string(AppendJSON(nil, r))
		if !strings.HasSuffix(line, `,"id":"`+path+`"}`) || strings.Contains(line, `"cause":"panic"`) != (want != "") {
			t.Error(line)
		}
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /aborted HTTP/1.1\r\nHost: x\r\n\r\n")
	io.ReadFull(conn, make([]byte, 100))
	conn.Close()
	if r := <-records; r.Cause != CauseAborted {
		t.Errorf("%+v", r)
	}
}
