package page

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Of TestCost: open browsers, and updates of each.
const (
	costBrowsers = 50
	costUpdates  = 12
)

// TestCost measures the CPU time in which the server updates 50 open browsers, each of which
// has a stream and fetches the page after each event. At one update a second it must be below
// 5 % of a core, 50 ms. It does not run in parallel with others, whose CPU time would count.
func TestCost(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector costs more than the server")
	}
	const address = "APMON_TEST_COST"
	if url := os.Getenv(address); url != "" {
		browse(t, url)
		return
	}
	s := newSample(t, 400*time.Millisecond)
	readers := exec.Command(os.Args[0], "-test.run=^TestCost$", "-test.count=1")
	readers.Env = append(os.Environ(), address+"="+s.URL)
	before := cpuTime(t)
	out, err := readers.CombinedOutput()
	used := (cpuTime(t) - before) / costUpdates
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// A busy machine renders the page less often than it would once a second.
	before = cpuTime(t)
	for i := range costUpdates {
		newBody("text/html", s.site.html(httptest.NewRequest("GET", "/", nil), Page{Main: samplePage(int64(i), "500")}, true)).compressed()
	}
	used += (cpuTime(t) - before) / costUpdates
	n := s.requests.Load()
	t.Logf("%v of CPU time for an update of %d browsers; %d requests, %d renderings", used, costBrowsers, n, s.renders.Load())
	if n < costBrowsers*costUpdates/2 {
		t.Errorf("%d requests", n)
	}
	if r := s.renders.Load(); r > 2*n/costBrowsers+costUpdates {
		t.Errorf("%d renderings for %d requests", r, n)
	}
	if used > 50*time.Millisecond {
		t.Errorf("%v, over 5 %% of a core at one update a second", used)
	}
}

// browse is what the browsers do, each with its own connections.
func browse(t *testing.T, url string) {
	var wg sync.WaitGroup
	for range costBrowsers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			stream, err := client.Get(url + LivePath)
			if err != nil {
				t.Error(err)
				return
			}
			defer stream.Body.Close()
			lines := bufio.NewScanner(stream.Body)
			for updates := 0; updates < costUpdates && lines.Scan(); {
				if !strings.HasPrefix(lines.Text(), "data: ") {
					continue
				}
				updates++
				r, _ := http.NewRequest("GET", url+"/?rows=500", nil)
				r.Header.Set("Accept-Encoding", "gzip")
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				n, err := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || strconv.FormatInt(n, 10) != resp.Header.Get("Content-Length") {
					t.Error(fmt.Sprint(n, err, resp.Header))
					return
				}
			}
		})
	}
	wg.Wait()
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
