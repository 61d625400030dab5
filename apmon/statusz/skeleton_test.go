package statusz

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
)

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

// TestPageOfMutornadomon compares the page with recorded calls and answers of mutornadomon,
// which testdata/mutornadomon.py computes by its rules: the skeleton, the seven values of the
// process, and the numbers of the program are the same.
func TestPageOfMutornadomon(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other systems have fewer values of the process")
	}
	b, err := os.ReadFile("testdata/mutornadomon.json")
	if err != nil {
		t.Fatal(err)
	}
	var periods []struct {
		Calls [][3]any
		Page  map[string]any
	}
	if err := json.Unmarshal(b, &periods); err != nil || len(periods) != 3 {
		t.Fatal(len(periods), err)
	}
	reg := metrics.New()
	p := New(reg, Options{})
	for i, period := range periods {
		for _, c := range period.Calls {
			name, v := c[1].(string), c[2].(float64)
			switch {
			case c[0] == "kv":
				reg.Gauge(name).Set(v)
			case name == "requests":
				reg.Counter(name).Add(int64(v))
			default:
				reg.Sum(name).Add(v)
			}
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(get(t, p, "/status")), &got); err != nil {
			t.Fatal(err)
		}
		have := paths(got["process"], "")
		if want := paths(period.Page["process"], ""); !slices.Equal(have, want) || len(want) != 7 {
			t.Errorf("process: %q, want %q", have, want)
		}
		for _, part := range []string{"counters", "gauges", "max_gauges", "min_gauges"} {
			have := got[part].(map[string]any)
			want := period.Page[part].(map[string]any)
			for name, v := range want {
				if have[name] != v {
					t.Errorf("period %d: %s of %s: %v, want %v", i, name, part, have[name], v)
				}
			}
			if part == "counters" && len(have) != len(want) {
				t.Errorf("period %d: %v", i, have)
			}
		}
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
