package statusz

import (
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/testkit"
)

// skeleton has the form of the answers of mutornadomon (the property "metrics" of its monitor,
// with num_fds of later versions) for a counter, and a gauge that was set to 1, 5 and 3. The
// numbers of the process are examples.
const skeleton = `{"process": {"uptime": 11.98, "meminfo": {"rss_bytes": 31653888, "vsz_bytes": 328933376},
	"cpu": {"user_time": 0.37, "num_threads": 2, "system_time": 0.08}, "num_fds": 13},
	"counters": {"requests": 3}, "gauges": {"queue": 3}, "max_gauges": {"queue": 5}, "min_gauges": {"queue": 1}}`

// paths returns the paths of all values in JSON.
func paths(v any, prefix string) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			all = append(all, paths(inner, prefix+"/"+name)...)
		}
	case []any:
		for _, inner := range v {
			all = append(all, paths(inner, prefix)...)
		}
	default:
		all = []string{fmt.Sprintf("%s %T", prefix, v)}
	}
	slices.Sort(all)
	return all
}

// The skeleton and the seven values of the process are those of mutornadomon.
func TestSkeleton(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other systems have fewer values of the process")
	}
	reg := metrics.New()
	p := New(reg, Options{})
	reg.Counter("requests").Add(3)
	for _, v := range []float64{1, 5, 3} {
		reg.Gauge("queue").Set(v)
	}
	var want, got map[string]any
	if err := json.Unmarshal([]byte(skeleton), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(get(t, p, "/status")), &got); err != nil {
		t.Fatal(err)
	}
	have := paths(got, "")
	for _, path := range paths(want, "") {
		if !slices.Contains(have, path) {
			t.Errorf("no %s in %q", path, have)
		}
	}
	for _, name := range []string{"counters", "max_gauges", "min_gauges"} {
		if fmt.Sprint(got[name]) != fmt.Sprint(want[name]) {
			t.Errorf("%s: %v, want %v", name, got[name], want[name])
		}
	}
	if g := got["gauges"].(map[string]any); g["queue"] != 3. {
		t.Error(g)
	}
}

// All names of ours are in snake case.
func TestNamesInJSON(t *testing.T) {
	t.Parallel()
	stats := httpstats.New(httpstats.Options{})
	var got map[string]any
	if err := json.Unmarshal([]byte(get(t, New(metrics.New(), Options{Client: client(t), HTTP: stats}), "/status")), &got); err != nil {
		t.Fatal(err)
	}
	all := paths(got, "")
	good := regexp.MustCompile(`^(/[a-z][a-z0-9]*(_[a-z0-9]+)*)+ `)
	for _, path := range all {
		if !good.MatchString(path) {
			t.Error(path)
		}
	}
	for _, want := range []string{"/http/server_uptime_seconds float64", "/http/total_request_count float64", "/sender/messages float64", "/sender/destinations/lookup_failures float64"} {
		if !slices.Contains(all, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(all, "\n"))
		}
	}
}

// BenchmarkPages renders the pages of 1000 metrics.
func BenchmarkPages(b *testing.B) {
	reg := metrics.New()
	p := New(reg, Options{HTTP: httpstats.New(httpstats.Options{})})
	for i := range 250 {
		reg.Counter(fmt.Sprint("counter", i)).Add(1)
		reg.Gauge(fmt.Sprint("gauge", i)).Set(1)
		m := reg.Measure(fmt.Sprint("measure", i))
		for v := range 100 {
			m.Observe(float64(v))
		}
		reg.Cache(fmt.Sprint("cache", i)).Hit()
	}
	for name, write := range map[string]func(){"html": func() { p.render() }, "json": func() { p.writeJSON() }, "prometheus": func() { p.writePrometheus() }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				write()
			}
		})
	}
}

// A page of 1000 metrics takes at most 20 ms.
func TestLargePage(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector costs more than the page")
	}
	reg := metrics.New()
	p := New(reg, Options{})
	for i := range 1000 {
		reg.Measure(fmt.Sprint("measure", i)).Observe(float64(i))
	}
	testkit.Eventually(t, "a page in 20 ms", func() bool { // while others use the processor, it takes longer
		start := time.Now()
		p.render()
		return time.Since(start) <= 20*time.Millisecond
	})
}
