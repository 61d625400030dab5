package procinfo

import (
	"math"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
)

func TestRate(t *testing.T) {
	var r rate
	for _, step := range []struct {
		n     uint64
		known bool
		at    time.Duration
		want  Value
		reset bool
	}{
		{100, true, 0, Value{}, false}, // the first
		{300, true, 2 * time.Second, Known(100), false},
		{0, false, 3 * time.Second, Value{}, false},     // unreadable: the baseline stays
		{500, true, 4 * time.Second, Known(100), false}, // so this is over two seconds
		{600, true, 4 * time.Second, Value{}, false},    // no time has passed
		{10, true, 5 * time.Second, Value{}, true},      // reset
		{20, true, 6 * time.Second, Known(10), false},   // from the new baseline
	} {
		got, reset := r.next(kernel.Count{N: step.n, OK: step.known}, step.at)
		if got != step.want || reset != step.reset {
			t.Errorf("%+v: %v, %v", step, got, reset)
		}
	}
}

func TestNothingThatIsNoNumber(t *testing.T) {
	for _, v := range []Value{Known(math.NaN()), Known(math.Inf(1)), Percent(1, 0), Value{}.Scaled(2), Known(1e308).Scaled(1e9)} {
		if v.OK {
			t.Errorf("%v", v)
		}
	}
}
