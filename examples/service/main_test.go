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
	"github.com/apmon-go/apmon/internal/testkit"
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

// start runs the example until the end of the test, and returns its address.
func start(t *testing.T, recv *apmontest.Receiver, args ...string) (url string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, stderr := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"-d", recv.Addr(), "-interval", "1s"}, args...), io.Discard, stderr)
		stderr.Close()
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, 4096)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r)
	return regexp.MustCompile(`http://[^/]+`).FindString(string(line[:n]))
}

// get requests a page.
func get(t *testing.T, url string) string {
	t.Helper()
	resp, body := testkit.HTTP(t, http.DefaultClient, "GET", url)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	return body
}

// TestService runs the example and requests its pages.
func TestService(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	url := start(t, recv)
	get(t, url+"/hello")
	var status struct {
		Process  map[string]any
		Counters map[string]float64
	}
	if err := json.Unmarshal([]byte(get(t, url+"/status")), &status); err != nil || status.Counters["greetings"] < 1 || status.Process["uptime"] == nil {
		t.Errorf("status: %+v, %v", status, err)
	}
	if page := get(t, url+"/metrics"); !strings.Contains(page, "greetings") {
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
}

// promtool has nothing to say about the metrics of the example.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: ", err)
	}
	url := start(t, apmontest.New(t))
	get(t, url+"/hello")
	get(t, url+"/status")
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(get(t, url+"/metrics"))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
