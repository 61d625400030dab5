package httpstats_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// An HTTP server whose requests are reported with the host's own parameters.
func Example() {
	stats := httpstats.New(httpstats.Options{})
	server := httptest.NewServer(stats.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	})))

	show := apmon.WithTap(func(datagram []byte) {
		if d, err := xdr.Parse(datagram); err == nil {
			for _, p := range d.Params {
				switch p.Name {
				case "http_total_request_count", "http_total_bytes_sent", "http_resp_2xx", "http_localhost_requests":
					fmt.Println(d.Cluster, d.Node, p.Name, p.Float())
				}
			}
		}
	})
	onlyOurs := apmon.Options{AdjustSource: func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }}
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "192.0.2.1"}}}, show, onlyOurs)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if _, err := c.AddSource(stats, apmon.ReportOptions{Cluster: "MySite_Web", Node: "www1", Interval: time.Minute}); err != nil {
		fmt.Println(err)
		return
	}

	resp, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	server.Close() // when the request has ended
	if err := c.Report(context.Background(), apmon.ReportNow); err != nil {
		fmt.Println(err)
	}
	// Output:
	// MySite_Web www1 http_total_request_count 1
	// MySite_Web www1 http_total_bytes_sent 5
	// MySite_Web www1 http_resp_2xx 1
	// MySite_Web www1 http_localhost_requests 1
}

// An access log without the queries, which may hold secrets.
func ExampleOptions_log() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "access.log")
	access, err := httpstats.OpenLogFile(path, httpstats.AppendCombined)
	if err != nil {
		fmt.Println(err)
		return
	}
	noQuery := func(r *httpstats.Record) { r.Query = "" }
	fixedTime := func(r *httpstats.Record) { r.Time = time.Unix(0, 0) } // for this example
	stats := httpstats.New(httpstats.Options{Log: []func(*httpstats.Record){noQuery, fixedTime, access.Log}})
	h := stats.Wrap(http.NotFoundHandler())

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/film.mp4?token=secret", nil))
	if err := os.Rename(path, path+".1"); err != nil { // as logrotate does
		fmt.Println(err)
	}
	if err := access.Reopen(); err != nil { // on SIGHUP
		fmt.Println(err)
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/other.mp4", nil))
	if err := access.Close(); err != nil {
		fmt.Println(err)
	}
	for _, p := range []string{path + ".1", path} {
		b, err := os.ReadFile(p)
		if err != nil {
			fmt.Println(err)
		}
		fmt.Print(string(b))
	}
	// Output:
	// 192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET /film.mp4 HTTP/1.1" 404 19 "-" "-"
	// 192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET /other.mp4 HTTP/1.1" 404 19 "-" "-"
}

func ExampleAppendJSON() {
	r := &httpstats.Record{
		Client: "192.0.2.1", Method: "GET", Path: "/live/hls/film-720p/1.ts", Protocol: "HTTP/1.1",
		Status: 200, Bytes: 1234, UserAgent: "vlc \"3\"", Duration: 250 * time.Millisecond, Size: 1234, First: -1, Last: -1,
		Time: time.Date(2026, 11, 21, 3, 27, 57, 0, time.UTC),
	}
	fmt.Println(string(httpstats.AppendJSON(nil, r)))
	// Output: {"client":"192.0.2.1","method":"GET","url":"/live/hls/film-720p/1.ts","protocol":"HTTP/1.1","status":200,"bytes-sent":1234,"ua":"vlc \"3\"","duration":0.250000,"size":1234,"time":"2026-11-21T03:27:57.000Z"}
}

// Further fields in the records of the access log.
func ExampleOptions_appendFields() {
	show := func(r *httpstats.Record) {
		fmt.Println(r.Path, r.Fields)
	}
	stats := httpstats.New(httpstats.Options{
		Log: []func(*httpstats.Record){show},
		AppendFields: func(fields []httpstats.Field, r *http.Request) []httpstats.Field {
			return append(fields, httpstats.Field{Name: "session", Value: r.Header.Get("Session")})
		},
	})
	r := httptest.NewRequest("GET", "/film.mp4", nil)
	r.Header.Set("Session", "4711")
	stats.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	// Output: /film.mp4 [{session 4711}]
}

// The requests by route, and those in progress.
func ExampleStats_Snapshot() {
	stats := httpstats.New(httpstats.Options{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, active := range stats.Snapshot().Active {
			fmt.Println("in progress:", active.Method, active.Path)
		}
	})
	h := stats.Wrap(mux)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/7", nil))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/none", nil))
	for _, r := range stats.Snapshot().Routes {
		fmt.Printf("%q %s %d: %d\n", r.Pattern, r.Method, r.Status, r.Count)
	}
	// Output:
	// in progress: GET /users/7
	// "" GET 404: 1
	// "/users/{id}" GET 200: 1
}

// A program ends the requests that take longer than an hour.
func ExampleStats_End() {
	stats := httpstats.New(httpstats.Options{})
	for _, r := range stats.Snapshot().Active {
		if time.Since(r.Began) > time.Hour {
			stats.End(r.ID)
		}
	}
}
