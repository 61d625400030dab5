package prom

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/internal/testkit/prometheus"
	"github.com/apmon-go/apmon/xdr"
)

func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{
		{Param: "mem", Name: "mem_bytes", Scale: 1024, Help: "Memory."},
		{Param: "cpu_time", Name: "cpu_seconds_total", Type: "counter"},
		{Param: "os_type", Name: "os_info", Type: "info", ValueLabel: "os"},
		{Param: "short", Name: "short", Expire: time.Second},
		{Param: "stamped", Name: "stamped", Timestamps: true},
	}})
	s.now = s.now.Truncate(time.Second)
	hostile := "\x00\r\"\\\n\xff" + `\xff {},=#` + "\u2028é"
	s.offer("C", hostile, number("a", 1.5), number("nan", math.NaN()), number("inf", math.Inf(1)))
	s.offer("C", "N", number("mem", 2), number("cpu_time", 7), xdr.String("os_type", "Debian \"12\""), number("stamped", 3))
	s.offer("D", "N", number("short", 1))
	handler := http.NewServeMux()
	handler.Handle("/metrics", s)
	handler.HandleFunc("/plain", func(w http.ResponseWriter, req *http.Request) {
		req.Header.Del("Accept")
		s.ServeHTTP(w, req)
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	query := prometheus.Start(t, strings.TrimPrefix(server.URL, "http://"), "/metrics", "/plain")

	node, _ := json.Marshal(Label(hostile))
	compare := func(promql, want string) {
		t.Helper()
		for _, job := range []string{"/metrics", "/plain"} {
			promql := strings.ReplaceAll(promql, "JOB", `job="`+job+`"`)
			var got string
			testkit.Eventually(t, promql+" to be "+want, func() bool {
				if now := query(promql); now != got {
					got = now
					t.Logf("%s: %s", promql, got)
				}
				return got == want
			})
		}
	}
	compare(`sum(up{JOB})`, `{} 1`)
	compare(`sum by (cluster, node, param) (apmon_param{JOB, param="a"})`, `{"cluster":"C","node":`+string(node)+`,"param":"a"} 1.5`)
	compare(`sum by (param) (apmon_param{JOB, param="nan"})`, `{"param":"nan"} NaN`)
	compare(`sum by (param) (apmon_param{JOB, param="inf"})`, `{"param":"inf"} +Inf`)
	compare(`sum by (cluster, node) (mem_bytes{JOB})`, `{"cluster":"C","node":"N"} 2048`)
	compare(`sum by (os) (os_info{JOB})`, `{"os":"Debian \"12\""} 1`)
	compare(`sum by (node) (timestamp(stamped{JOB}))`, fmt.Sprintf(`{"node":"N"} %d`, s.now.Unix()))
	compare(`count by (node) (apmon_node_last_seen_timestamp_seconds{JOB, node="N", cluster="C"} > `+fmt.Sprint(s.now.Unix()-1)+`)`, `{"node":"N"} 1`)
	compare(`count(apmon_recv_series{JOB})`, `{} 1`)
	compare(`count by (cluster) (short{JOB})`, ``) // it ended, and Prometheus noticed
	// A counter that goes on has a rate.
	for i := range 3 {
		s.Offer("C", "N", []xdr.Param{number("cpu_time", float64(10+i))}, time.Now(), 0)
		want := fmt.Sprintf(`{"node":"N"} %d`, 10+i)
		compare(`sum by (node) (cpu_seconds_total{JOB})`, want)
	}
	compare(`sum by (node) (increase(cpu_seconds_total{JOB}[1h])) > bool 0`, `{"node":"N"} 1`)
}
