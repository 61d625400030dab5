// Package prometheus runs a real Prometheus in tests.
package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Start runs a Prometheus that scrapes paths of an address each second, each in a job of this
// name, and returns a function that answers PromQL: a line for each series. It skips the test
// if Prometheus is not installed.
func Start(t testing.TB, target string, paths ...string) (query func(promql string) string) {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus here: install Debian's package prometheus")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s}\nscrape_configs:\n"
	for _, p := range paths {
		text += fmt.Sprintf("- job_name: %q\n  metrics_path: %q\n  static_configs: [{targets: [%q]}]\n", p, p, target)
	}
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
func ready(t testing.TB, addr string, ended chan struct{}) (ok bool) {
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

func ask(t testing.TB, addr, promql string) string {
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
