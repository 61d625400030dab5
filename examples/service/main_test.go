package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

// TestService runs the example, and looks at it as a newcomer would.
func TestService(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, stderr := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-d", recv.Addr(), "-interval", "1s"}, io.Discard, stderr)
		stderr.Close()
	}()
	line := make([]byte, 4096)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r)
	url := regexp.MustCompile(`http://[^/]+`).FindString(string(line[:n]))
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return string(b)
	}
	get("/hello")
	var status struct {
		Process  map[string]any
		Counters map[string]float64
	}
	if err := json.Unmarshal([]byte(get("/status")), &status); err != nil || status.Counters["greetings"] < 1 || status.Process["uptime"] == nil {
		t.Errorf("status: %+v, %v", status, err)
	}
	if page := get("/metrics"); !strings.Contains(page, "greetings") {
		t.Errorf("metrics: %.500s", page)
	}
	for _, name := range []string{"greetings", "waiting_max", "answer_avg", "http_total_request_count", "go_goroutines"} {
		recv.WaitFor(func(d *xdr.Datagram) bool {
			for _, p := range d.Params {
				if d.Cluster == "Example_Services" && d.Node == "service" && p.Name == name {
					return true
				}
			}
			return false
		})
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
