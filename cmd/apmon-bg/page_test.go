//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/testkit"
)

// pageAt waits until the log has the address of the page, and returns it.
func (p *running) pageAt() string {
	p.t.Helper()
	at := regexp.MustCompile(`msg=page url=(http://127\.0\.0\.1:\d+)/\n`)
	var m []string
	testkit.Eventually(p.t, "the address of the page", func() bool {
		m = at.FindStringSubmatch(p.stderr.String())
		return m != nil
	})
	return m[1]
}

// web is a client that keeps no connection open.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testkit.Patience}

// ask asks for a page by a name of the host, empty for the address.
func ask(t *testing.T, url, host string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	must(t, err)
	req.Host = host
	resp, err := web.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

// answer asks the API.
func answer[T any](t *testing.T, url string) (v T) {
	t.Helper()
	status, body := ask(t, url, "")
	if status == http.StatusNotFound {
		return v // nothing yet
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %v %s", url, status, err, body)
	}
	return v
}

// values returns the values of a node by name.
func values(t *testing.T, page, cluster, node string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range answer[dashboard.ParamList](t, page+"/api/v1/params?cluster="+cluster+"&node="+node).Params {
		all[p.Name] = string(p.Value)
	}
	return all
}

// The page shows host, jobs, services and access log without any destination.
func TestPage(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	pid, end := testkit.Sleeper(t)
	defer end()
	log, lines, err := os.Pipe()
	must(t, err)
	defer log.Close()
	defer lines.Close()
	p := startWith(t, log, nil, "--http", "0", "--interval", "1", "-n", "host.example", "--http-host", "page.example",
		"--job", fmt.Sprint(pid)+",,,job-1", "--service", "none=~^no such process$", "--accesslog", "-", "--accesslog-preset", "hls", "--accesslog-window", "1", "--accesslog-format", "combined")
	page := p.pageAt()
	if p.stderr.Count("reports are only shown on the page") != 1 || p.stderr.Count("msg=destination") != 0 {
		t.Errorf("%s", p.stderr.String())
	}
	testkit.Eventually(t, "values of the host", func() bool {
		v := values(t, page, "ApMon_SysMon", "host.example")
		load, err := strconv.ParseFloat(v["load1"], 64)
		return err == nil && load >= 0 && v["cpu_usage"] != "" && v["hostname"] != ""
	})
	testkit.Eventually(t, "values of the job", func() bool { return values(t, page, "ApMon_JobMon", "job-1")["run_time"] != "" })
	testkit.Eventually(t, "the service to be down", func() bool { return values(t, page, "none_Services", "host.example")["up"] == "0" })
	testkit.Eventually(t, "values of the access log", func() bool {
		fmt.Fprintf(lines, "10.0.0.1 - - [%s] \"GET /live/hls/film-720p/1.ts HTTP/1.1\" 200 1000 \"-\" \"-\"\n", time.Now().Format("02/Jan/2006:15:04:05 -0700"))
		return values(t, page, logCluster, "host.example_film_hls_720p")["requests"] != ""
	})

	unit := answer[dashboard.ParamList](t, page+"/api/v1/params?cluster=ApMon_SysMon&node=host.example&q=cpu_usage").Params
	if len(unit) != 1 || unit[0].Unit != "%" || unit[0].Meaning == "" {
		t.Errorf("%+v", unit)
	}
	for _, want := range []string{"ApMon_SysMon", "host.example", "none_Services", "is down", "ApMon_JobMon", logCluster} {
		testkit.Eventually(t, "the page with "+want, func() bool {
			status, body := ask(t, page+"/", "")
			return status == 200 && strings.Contains(body, want)
		})
	}
	for host, want := range map[string]int{"page.example": 200, "localhost": 200, "evil.example": 421} {
		if status, _ := ask(t, page+"/", host); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
	p.says(`allow="--http-host evil.example"`)
}

// A report is counted once, however many destinations it has.
func TestPageOfManyDestinations(t *testing.T) {
	t.Parallel()
	skipUnlessSampled(t)
	a, b := apmontest.New(t), apmontest.New(t)
	p := start(t, nil, "--http", "0", "--interval", "1", "-d", a.Addr(), "-d", b.Addr(), "-d", testkit.Refusing(t))
	page := p.pageAt()
	a.WaitFor(reports(3, "", "load1"))
	testkit.Eventually(t, "as many datagrams as a destination gets", func() bool {
		return int(answer[dashboard.Overview](t, page+"/api/v1/overview").Totals.Datagrams) == len(a.Datagrams())
	})
	o := answer[dashboard.Overview](t, page+"/api/v1/overview")
	if len(o.Outputs) != 3 || o.Outputs[0].Name != a.Addr() || o.Outputs[0].Sent == 0 || o.Outputs[0].Error != "" {
		t.Errorf("outputs %+v", o.Outputs)
	}
	testkit.Eventually(t, "a destination that refuses", func() bool {
		o := answer[dashboard.Overview](t, page+"/api/v1/overview")
		return o.Outputs[2].Dropped["refused"] > 0
	})
}

// The page ends with the agent, though a browser is open. Its port is free at once for the
// process that replaces it.
func TestPageEnds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	p := start(t, nil, "--http", "0", "--pidfile", file, "--no-host")
	page := p.pageAt()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", page+"/live", nil)
	must(t, err)
	resp, err := web.Do(req)
	must(t, err)
	defer resp.Body.Close()
	_, err = resp.Body.Read(make([]byte, 1))
	must(t, err)

	next := start(t, nil, "--http", strings.TrimPrefix(page, "http://"), "--pidfile", file, "--replace", "--no-host")
	p.exits(0)
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if again := next.pageAt(); again != page {
		t.Errorf("the page is at %s, not at %s", again, page)
	}
	other := start(t, nil, "--http", strings.TrimPrefix(page, "http://"), "--no-host")
	other.exits(69)
	if other.stderr.Count("address already in use") != 1 {
		t.Errorf("%s", other.stderr.String())
	}
	next.signal(syscall.SIGTERM)
	next.exits(0)
}
