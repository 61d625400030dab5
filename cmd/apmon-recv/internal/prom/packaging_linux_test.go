package prom

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// All reports of the packages on this host, a job, and this program are mapped.
func TestPackagedRulesOnRealReports(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	d, err := conf.ParseDestination(recv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	client, err := apmon.New(conf.Config{Destinations: []conf.Destination{d}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	pid, _ := testkit.Sleeper(t)
	job := apmon.Job{PID: pid, Node: "job", WorkDir: t.TempDir(), NumCPUs: 1, Switches: map[string]bool{"pss": true, "swappss": true}}
	if _, err := client.AddJob(job); err != nil {
		t.Fatal(err)
	}
	if err := client.SetBenchmark("hs23", 17); err != nil {
		t.Fatal(err)
	}
	reg := metrics.New()
	defer reg.Close()
	reg.AddRuntime()
	if _, err := metrics.Publish(client, reg, metrics.PublishOptions{Cluster: "Site_Services", Node: "runtime"}); err != nil {
		t.Fatal(err)
	}
	stats := httpstats.New(httpstats.Options{})
	stats.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if _, err := client.AddSource(stats, apmon.ReportOptions{Name: "http", Cluster: "Site_Services", Node: "http"}); err != nil {
		t.Fatal(err)
	}
	s := newTestStore(t, packaged(t))
	sent := map[string]bool{}
	// Rates come with the second report, and some values take a moment.
	testkit.Eventually(t, "all kinds of reports", func() bool {
		if err := client.Report(t.Context(), apmon.ReportNow); err != nil {
			t.Fatal(err)
		}
		runtime.GC() // for a pause
		for _, d := range recv.Datagrams() {
			for i := range d.Params {
				sent[d.Node+" "+d.Params[i].Name] = true
				sent[d.Params[i].Name] = true
			}
		}
		return sent["cpu_usr"] && sent["job instant_cpu_usage"] && sent["workdir_size"] && sent["http_mean_bitrate"] && sent["go_gc_pause_max"]
	})
	numbers := map[string]bool{}
	for _, d := range recv.Datagrams() {
		s.Offer(d.Cluster, d.Node, d.Params, time.Now(), 0)
		for i := range d.Params {
			if d.Params[i].Type() != xdr.TypeString {
				numbers[d.Cluster+" "+d.Node+" "+d.Params[i].Name] = true
			}
		}
	}
	text := s.scrape(t, plainText)
	if lines := unmapped(s, text); len(lines) > 0 {
		t.Errorf("without a rule:\n%s", strings.Join(lines, ""))
	}
	samples := 0
	for name, n := range s.parse(t, text, plainText) {
		if !reserved(name) && !strings.HasSuffix(name, "_info") {
			samples += n
		}
	}
	if samples != len(numbers) || samples < 100 {
		t.Errorf("%d samples of %d parameters", samples, len(numbers))
	}
	promtool(t, text)
	s.parse(t, s.scrape(t, openMetrics), openMetrics)
}
