package statusz_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/statusz"
)

func Example() {
	reg := metrics.New()
	page := statusz.New(reg, statusz.Options{})
	mux := http.NewServeMux()
	mux.Handle("/status", page)
	mux.Handle("/metrics", page)
	server := httptest.NewServer(mux) // or http.ListenAndServe("127.0.0.1:8080", mux)
	defer server.Close()

	reg.Counter("requests").Add(3)
	for _, n := range []float64{7, 2, 5} {
		reg.Gauge("queue_len").Set(n)
	}

	resp, err := http.Get(server.URL + "/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var status struct {
		Counters, Gauges map[string]float64
		MaxGauges        map[string]float64 `json:"max_gauges"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(status.Counters["requests"], status.Gauges["queue_len"], status.MaxGauges["queue_len"])

	forged, _ := http.NewRequest("GET", server.URL+"/status", nil)
	forged.Header.Set("X-Forwarded-For", "127.0.0.1, 198.51.100.7")
	if resp, err := http.DefaultClient.Do(forged); err == nil {
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// 3 5 7
	// 403 Forbidden
}

func ExamplePage_ServeHTTP() {
	reg := metrics.New()
	reg.Counter("requests").Add(3)
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost"
	w := httptest.NewRecorder()
	statusz.New(reg, statusz.Options{}).ServeHTTP(w, r)
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "requests_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP requests_total The counter requests of the program.
	// # TYPE requests_total counter
	// requests_total 3
}
