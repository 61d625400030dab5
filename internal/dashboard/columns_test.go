package dashboard

import (
	"slices"
	"strings"
	"testing"
)

// The parameter that says most comes first, and unknown parameters follow by name if there is little else.
func TestColumns(t *testing.T) {
	t.Parallel()
	for names, want := range map[string]string{
		"":                             "",
		"x10 x2 x1":                    "x1 x2",
		"b load1 a":                    "load1 a",
		"mem_usage x load1 cpu_usage":  "load1 cpu_usage",
		"rss x run_time":               "run_time rss",
		"restarts processes x a up":    "up processes",
		"total_traffic_out disk_usage": "total_traffic_out disk_usage",
	} {
		if got := strings.Join(Columns(strings.Fields(names), 2), " "); got != want {
			t.Errorf("%s: %s, want %s", names, got, want)
		}
	}
	if all := Columns(append(slices.Clone(columnParams), leadParams...), 100); len(all) != len(columnParams)+1 {
		t.Errorf("%q", all)
	}
}
