package procinfo

import (
	"math"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Value is a number that may be unknown. The zero Value is unknown.
type Value struct {
	V  float64
	OK bool
}

// Known returns v as a known value; NaN and infinities are unknown.
func Known(v float64) Value {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Value{}
	}
	return Value{v, true}
}

// KnownIf returns v as a known value if ok, else the unknown one.
func KnownIf(v float64, ok bool) Value {
	if !ok {
		return Value{}
	}
	return Known(v)
}

// Scaled returns v times f, unknown if v is.
func (v Value) Scaled(f float64) Value {
	if !v.OK {
		return v
	}
	return Known(v.V * f)
}

// Percent returns part of whole in percent, unknown where that has no meaning.
func Percent(part, whole float64) Value {
	if whole == 0 {
		return Value{}
	}
	return Known(100 * part / whole)
}

// rate turns a counter into a rate.
type rate struct {
	n  uint64
	at time.Duration
	ok bool
}

// next returns the rate per second since the previous call. It is unknown the
// first time and after a reset (the counter went down); reset tells the two
// apart. A counter that is unknown keeps the baseline.
func (r *rate) next(c kernel.Count, at time.Duration) (v Value, reset bool) {
	if !c.OK {
		return Value{}, false
	}
	old := *r
	if old.ok && at <= old.at {
		return Value{}, false // no time has passed: keep the baseline
	}
	*r = rate{c.N, at, true}
	switch {
	case !old.ok:
		return Value{}, false
	case c.N < old.n:
		return Value{}, true
	}
	return Known(float64(c.N-old.n) / (at - old.at).Seconds()), false
}

// perSecond is next for those who do not care for resets.
func (r *rate) perSecond(c kernel.Count, at time.Duration) Value {
	v, _ := r.next(c, at)
	return v
}

// plus adds what is known.
func plus(a, b Value) Value {
	switch {
	case !b.OK:
		return a
	case !a.OK:
		return b
	}
	return Known(a.V + b.V)
}

// total is a sum of rates. Without one that was reset it would be no total, and
// is unknown.
type total struct {
	sum   Value
	reset bool
}

// add adds the rate of a counter, in a unit of which the counter's is so much,
// and returns it.
func (t *total) add(r *rate, c kernel.Count, at time.Duration, unit float64) Value {
	v, reset := r.next(c, at)
	v = v.Scaled(unit)
	t.sum, t.reset = plus(t.sum, v), t.reset || reset
	return v
}

// value returns the total.
func (t *total) value() Value {
	if t.reset {
		return Value{}
	}
	return t.sum
}
