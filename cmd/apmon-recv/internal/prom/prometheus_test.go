package prom

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// startPrometheus runs the real one, which scrapes /metrics (in OpenMetrics) and /plain of an
// address each second, and returns a function that answers PromQL: a line for each series.
func startPrometheus(t *testing.T, target string) (query func(promql string) string) {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus here: install Debian's package prometheus")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
- job_name: openmetrics
  static_configs: [{targets: [%q]}]
- job_name: plain
  metrics_path: /plain
  static_configs: [{targets: [%[1]q]}]
`, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 { // another process may take the port meanwhile
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		var log testkit.Log
		cmd := exec.Command(path, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr)
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = cmd.Wait() }()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("prometheus: %.5000s", log.String())
			}
		})
		if ready(t, addr, ended) {
			return func(promql string) string { return ask(t, addr, promql) }
		}
	}
	t.Fatal("prometheus does not start")
	return nil
}

// ready waits until Prometheus answers, or has ended.
func ready(t *testing.T, addr string, ended chan struct{}) (ok bool) {
	t.Helper()
	testkit.Eventually(t, "prometheus to start", func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		ok = resp.StatusCode == http.StatusOK
		return ok
	})
	return ok
}

func ask(t *testing.T, addr, promql string) string {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(promql))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", promql, err, answer.Error)
	}
	var lines []string
	for _, r := range answer.Data.Result {
		line, _ := json.Marshal(r.Metric)
		lines = append(lines, fmt.Sprintf("%s %v", line, r.Value[1]))
	}
	return strings.Join(lines, "\n")
}

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
	query := startPrometheus(t, strings.TrimPrefix(server.URL, "http://"))

	node, _ := json.Marshal(Label(hostile))
	compare := func(promql, want string) {
		t.Helper()
		for _, job := range []string{"openmetrics", "plain"} {
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
