package dashboard

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// large returns a dashboard of so many clusters with so many nodes each, its clock, and a
// function that sends a report of each node.
func large(t testing.TB, clusters, nodes, params, reports int) (d *Dashboard, clock *time.Time, report func(time.Time)) {
	t.Helper()
	now := time.Now()
	w := history.NewWindows(history.WindowOptions{MaxBytes: 1 << 30})
	list, names := make([]xdr.Param, params), make([]string, params)
	for p := range names {
		names[p] = fmt.Sprintf("param%02d", p)
	}
	report = func(at time.Time) {
		for c := range clusters {
			cluster := fmt.Sprintf("Site%05d_Nodes", c)
			for n := range nodes {
				for p := range list {
					list[p] = xdr.Float(names[p], float64((n*p)%100))
				}
				list[0] = xdr.Float("load1", float64(n%30))
				if n%1000 == 7 {
					list[1] = xdr.Float("exit_code", 1)
				}
				w.Offer(cluster, fmt.Sprintf("node%05d.example.org", n), list, at, 0)
			}
		}
	}
	for r := range reports {
		report(now.Add(-time.Duration(reports-r) * 15 * time.Second))
	}
	d = newDashboard(Source{Windows: w, Name: "test"}, page.Options{Every: time.Nanosecond}, func() time.Time { return now })
	return d, &now, report
}

// fetch returns the size of an answer on the wire, in bytes.
func fetch(t testing.TB, d http.Handler, path string) int {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	size := w.Body.Len()
	if w.Header().Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(w.Body)
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return size
}

// TestLarge: the pages of 10 000 nodes, in one cluster and in 10 000, take less than 200 ms
// and 300 KB each: the first time, and with reports of all nodes since.
func TestLarge(t *testing.T) {
	const most, size = 200 * time.Millisecond, 300 << 10
	many := 10_000
	if testkit.Race { // it costs ten times as much
		many = 500
	}
	for _, c := range []struct{ clusters, nodes int }{{1, many}, {many, 1}} {
		t.Run(fmt.Sprint(c.clusters, "x", c.nodes), func(t *testing.T) {
			d, now, report := large(t, c.clusters, c.nodes, 3, 2)
			for _, path := range []string{
				"/", "/again", "/nodes", "/clusters", "/nodes?cluster=Site00000_Nodes", "/nodes?cluster=Site00000_Nodes&sort=value", "/nodes?q=*77*", "/jobs", "/search?q=*9*1*",
				"/param?cluster=Site00000_Nodes&param=load1", "/api/v1/overview",
			} {
				*now = now.Add(2 * time.Second)
				report(*now)
				runtime.GC()
				handler := http.Handler(d)
				if path == "/again" { // the site keeps the answer of an address that takes long
					handler = d.live(d.overviewPage)
				}
				start := cpuTime()
				n := fetch(t, handler, path)
				took := cpuTime() - start
				t.Logf("%s: %v, %d bytes", path, took, n)
				if n > size {
					t.Errorf("%s: %d bytes, want at most %d", path, n, size)
				}
				if took > most && !testkit.Race && (path == "/" || path == "/again") {
					t.Errorf("%s: %v of CPU time, want at most %v", path, took, most)
				}
			}
		})
	}
}
