package procinfo

import (
	"math"
	"testing"
	"time"
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
		got, reset := r.next(count{step.n, step.known}, step.at)
		if got != step.want || reset != step.reset {
			t.Errorf("%+v: %v, %v", step, got, reset)
		}
	}
}

func TestNothingThatIsNoNumber(t *testing.T) {
	for _, v := range []Value{Known(math.NaN()), Known(math.Inf(1)), percent(1, 0), Value{}.scaled(2), Known(1e308).scaled(1e9)} {
		if v.OK {
			t.Errorf("%v", v)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]Value{
		"0.04": Known(.04), "10": Known(10), "7034.72": Known(7034.72), "2600.000": Known(2600), "5.": Known(5),
		"": {}, ".5": {}, "-1": {}, "1e5": {}, "1.x": {}, "nan": {}, "99999999999999999999": {},
		"18446744073709551615.999999999": Known(18446744073709551615.999999999),
	} {
		if got := parseDecimal([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for s, want := range map[string]count{
		"0-3\n": {4, true}, "0-1,3": {3, true}, "7": {1, true}, "": {}, "3-1": {}, "0-99999999999": {}, "x": {},
	} {
		if got := parseCPUList([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
