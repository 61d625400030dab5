package dashboard

import (
	"testing"
	"time"
)

// A graph of values that began lately shows the time from then on.
func TestFirstShown(t *testing.T) {
	t.Parallel()
	to := time.Unix(1_800_000_000, 0)
	for _, c := range []struct{ whole, age, want time.Duration }{
		{time.Hour, time.Hour, time.Hour},
		{time.Hour, 46 * time.Minute, time.Hour},
		{time.Hour, 40 * time.Minute, 45 * time.Minute},
		{time.Hour, 8 * time.Second, time.Minute},
		{time.Hour, 0, time.Minute},
		{30 * time.Second, time.Second, 30 * time.Second},
	} {
		if got := to.Sub(firstShown(to.Add(-c.age), to.Add(-c.whole), to)); got != c.want {
			t.Errorf("the first of %v is %v old: %v are shown, want %v", c.whole, c.age, got, c.want)
		}
	}
}
