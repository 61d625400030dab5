package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

// TestMain runs the example itself in the processes that tests start.
func TestMain(m *testing.M) {
	if os.Getenv("SERVICE_EXAMPLE") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Without -d the example receives and prints its own reports, and a signal ends it.
func TestReceivesInProcess(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-interval", "1s")
		cmd.Env = append(os.Environ(), "SERVICE_EXAMPLE=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		signaled := false
		for lines := bufio.NewScanner(out); lines.Scan(); { // until the example ends
			all.WriteString(lines.Text() + "\n")
			if !signaled && strings.Contains(lines.Text(), "http_total_request_count") {
				signaled = true
				if err := cmd.Process.Signal(sig); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if got := all.String(); !signaled || !strings.Contains(got, "Example_Services service\n") || !strings.Contains(got, "    greetings") {
			t.Errorf("%v: printed\n%s", sig, got)
		}
	}
}

// TestService runs the example and requests its pages.
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
