package statusz

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/testkit"
)

// large returns what writes the formats of a page of 1000 metrics.
func large() map[string]func() {
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
	return map[string]func(){"html": func() { p.render() }, "json": func() { p.writeJSON() }, "prometheus": func() { p.writePrometheus() }}
}

func BenchmarkPages(b *testing.B) {
	for name, write := range large() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				write()
			}
		})
	}
}

// A page of 1000 metrics takes at most 20 ms of a core, in each format.
func TestLargePage(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector costs more than the page")
	}
	const limit = 20 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for name, write := range large() {
		least := time.Hour
		testkit.Eventually(t, name+" in "+limit.String(), func() bool { // the first is slower
			before := cpuTime(t)
			write()
			least = min(least, cpuTime(t)-before)
			return least <= limit
		})
		t.Logf("%s: %v", name, least)
	}
}

// cpuTime returns the CPU time of this thread.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
