package farm

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/procinfo"
)

// message is a report of a node at a second.
type message struct {
	second, node  int
	cluster, name string
	values        map[string]float64
	texts         map[string]string
}

// record runs a farm and returns its messages.
func record(seed uint64, seconds int) []message {
	f := New(seed)
	var all []message
	for second := 1; second <= seconds; second++ {
		f.Step(func(node int, m apmon.Message) {
			msg := message{second, node, m.Cluster, m.Node, map[string]float64{}, map[string]string{}}
			for _, p := range m.Params {
				if p.Text() != "" {
					msg.texts[p.Name] = p.Text()
				} else {
					msg.values[p.Name] = p.Float()
				}
			}
			all = append(all, msg)
		})
	}
	return all
}

// of returns the messages of a cluster.
func of(cluster string, all []message) []message {
	return slices.DeleteFunc(slices.Clone(all), func(m message) bool { return m.cluster != cluster })
}

func TestSameSeed(t *testing.T) {
	t.Parallel()
	a, b, c := record(1, 300), record(1, 300), record(2, 300)
	if !reflect.DeepEqual(a, b) {
		t.Error("two farms of one seed differ")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("farms of two seeds do not differ")
	}
}

// The units of all parameters are known.
func TestParametersAreOurs(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, m := range procinfo.Metrics() {
		known[m.Name] = true
	}
	for _, m := range record(1, 300) {
		if len(m.values) < 2 {
			t.Fatalf("%v has too few values", m)
		}
		for name := range m.values {
			if !known[name] {
				t.Errorf("%s/%s: unknown parameter %s", m.cluster, m.name, name)
			}
		}
	}
}

// Within 30 seconds, and again later, there is something to look at.
func TestEvents(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		var killed, well, down, restarted [2]int
		heard := map[string]int{}
		silent := map[string]int{} // nodes and how long they were
		for _, m := range record(seed, 600) {
			early := 0
			if m.second > 30 {
				early = 1
			}
			switch m.cluster {
			case JobCluster:
				if code, ok := m.values["exit_code"]; ok && code == 0 {
					well[early]++
				}
				if m.values["exit_signal"] == 9 {
					killed[early]++
					if m.values["max_rss"] != memoryLimit || m.values["cgroup_oom_kill"] != 1 {
						t.Errorf("seed %d: %v was killed below its limit", seed, m)
					}
				}
			case ServiceCluster:
				if m.values["up"] == 0 {
					down[early]++
				}
				if m.values["restarts"] > 0 {
					restarted[early]++
				}
			case NodeCluster:
				if gap := m.second - heard[m.name]; gap > 1 {
					silent[m.name] = max(silent[m.name], gap-1)
				}
				heard[m.name] = m.second
			}
		}
		for name, n := range map[string][2]int{"jobs killed": killed, "jobs ended well": well, "services down": down, "services restarted": restarted} {
			if n[0] == 0 || n[1] == 0 {
				t.Errorf("seed %d: %v %s within 30 s and later", seed, n, name)
			}
		}
		if len(heard) != Nodes || len(silent) != 2 {
			t.Errorf("seed %d: of %d nodes these were silent for a while: %v", seed, len(heard), silent)
		}
		for _, seconds := range silent {
			if seconds != silentTo-silentFrom {
				t.Errorf("seed %d: silent for %v", seed, silent)
			}
		}
	}
}

func TestPlausible(t *testing.T) {
	t.Parallel()
	all := record(3, 1200)
	for _, m := range all {
		for name, v := range m.values {
			if v < 0 {
				t.Errorf("%v: %s is negative", m, name)
			}
		}
	}
	for _, m := range of(NodeCluster, all) {
		v := m.values
		sum := v["cpu_usr"] + v["cpu_sys"] + v["cpu_idle"] + v["cpu_iowait"]
		if sum < 99.9 || sum > 100.1 || v["cpu_usage"] > 100 || v["load1"] > 2*nodeCPUs || v["mem_usage"] > 90 {
			t.Fatalf("%v", m)
		}
	}
	last := map[string]message{}
	ended := map[string]bool{}
	running := 0
	jobs := of(JobCluster, all)
	for _, m := range jobs {
		v, before := m.values, last[m.name].values
		if ended[m.name] {
			t.Fatalf("%v: the job has ended", m)
		}
		for _, counter := range []string{"run_time", "cpu_time", "read_bytes", "write_bytes", "max_rss"} {
			if v[counter] < before[counter] {
				t.Fatalf("%v: %s was %v before", m, counter, before[counter])
			}
		}
		if v["cpu_efficiency"] > 100.1 || v["rss"] > memoryLimit || v["instant_cpu_usage"] > 800.1 {
			t.Fatalf("%v", m)
		}
		_, code := v["exit_code"]
		_, signal := v["exit_signal"]
		_, rss := v["rss"]
		if ended[m.name] = code || signal; ended[m.name] == rss {
			t.Fatalf("%v: ended %v, with memory %v", m, ended[m.name], rss)
		}
		last[m.name] = m
	}
	for name, m := range last {
		if !ended[name] && m.second < 1200-silentTo {
			t.Errorf("job %s has not ended, and was heard last at %d", name, m.second)
		}
		if !ended[name] {
			running++
		}
	}
	if running < 12 || running > 20 || len(last) < 100 {
		t.Errorf("%d jobs of %d run", running, len(last))
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+Interval/2)
		defer cancel()
		var got, want []string
		New(1).Run(ctx, func(node int, m apmon.Message) { got = append(got, fmt.Sprint(node, m)) })
		f := New(1)
		for range 11 { // the first at once
			f.Step(func(node int, m apmon.Message) { want = append(want, fmt.Sprint(node, m)) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d messages in 10 s, want %d", len(got), len(want))
		}
	})
}

func BenchmarkStep(b *testing.B) {
	f := New(1)
	for b.Loop() {
		f.Step(func(int, apmon.Message) {})
	}
}
