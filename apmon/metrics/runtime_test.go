package metrics

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

func TestRuntime(t *testing.T) {
	t.Parallel()
	reg := New()
	rd := reg.NewReader()
	reg.AddRuntime()
	reg.AddRuntime()
	defer reg.Close()
	var got map[string]float64
	pauses := 0.
	testkit.Eventually(t, "latency and a pause", func() bool {
		runtime.GC()
		got = read(t, rd)
		pauses += got[pauseName+"_cnt"]
		_, ok := got[latencyName]
		return ok && pauses > 0
	})
	for _, name := range []string{"process_uptime", "go_goroutines", "go_heap", latencyName, latencyName + "_min", latencyName + "_max"} {
		if v, ok := got[name]; !ok || v < 0 {
			t.Errorf("%s: %v, there: %v", name, v, ok)
		}
	}
	if runtime.GOOS == "linux" {
		for _, name := range []string{"process_rss", "process_vsz", "process_user_time", "process_system_time", "process_threads", "process_open_files"} {
			if v, ok := got[name]; !ok || v < 0 || v == 0 && !strings.HasSuffix(name, "time") {
				t.Errorf("%s: %v, there: %v", name, v, ok)
			}
		}
		if got["process_rss"] > got["process_vsz"] || got["process_uptime"] > 3600 || got["process_rss"] < 1000 {
			t.Errorf("%v", got)
		}
	}
	reg.Close()
	reg.Close()
	absent(t, read(t, rd), latencyName) // unknown after Close
	want(t, read(t, rd), map[string]float64{pauseName + "_cnt": 0})
}

func TestProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		rd := reg.NewReader()
		reg.AddRuntime()
		time.Sleep(time.Second)
		synctest.Wait()
		// Simulated time is never late.
		want(t, read(t, rd), map[string]float64{latencyName: 0, latencyName + "_max": 0})
		reg.Close() // or the bubble would not end
	})
}

func TestRuntimeLeavesTheProgramsNames(t *testing.T) {
	t.Parallel()
	reg := New()
	rd := reg.NewReader()
	reg.Gauge("process_uptime").Set(-1)
	reg.AddRuntime()
	defer reg.Close()
	reg.Gauge("go_heap").Set(-1)
	values, err := rd.Read()
	got := numbers(t, values)
	want(t, got, map[string]float64{"process_uptime": -1})
	if got["go_heap"] <= 0 {
		t.Errorf("go_heap: %v", got["go_heap"])
	}
	for _, w := range []string{`AddRuntime would send process_uptime, which is sent by "process_uptime"`, `gauge "go_heap" would send "go_heap", which is sent by "AddRuntime"`} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v lacks %q", err, w)
		}
	}
}
