package histogram

import (
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestLongObserveCost: an observation on one goroutine takes at most 20 ns of CPU time, in
// the best of several rounds.
func TestLongObserveCost(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector would be measured")
	}
	const n, limit = 1_000_000, 20 * time.Nanosecond
	v := values()
	var h Histogram
	var w Window
	for name, observe := range map[string]func(float64){"histogram": h.Observe, "window": w.Observe} {
		least := time.Hour
		for range 20 {
			from := testkit.CPU()
			for i := range n {
				observe(v[i%len(v)])
			}
			least = min(least, testkit.CPU()-from)
		}
		t.Logf("%s: %.1f ns", name, float64(least)/n)
		if least > n*limit {
			t.Errorf("%s: %v for %d observations", name, least, n)
		}
	}
}
