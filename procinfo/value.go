package procinfo

import (
	"math"
	"time"
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

// scaled returns v times f, unknown if v is.
func (v Value) scaled(f float64) Value {
	if !v.OK {
		return v
	}
	return Known(v.V * f)
}

// percent returns part of whole in percent, unknown where that has no meaning.
func percent(part, whole float64) Value {
	if whole == 0 {
		return Value{}
	}
	return Known(100 * part / whole)
}

// count is a counter that a file may lack.
type count struct {
	n  uint64
	ok bool
}

// value returns the counter as a Value.
func (c count) value() Value {
	if !c.ok {
		return Value{}
	}
	return Known(float64(c.n))
}

// add adds another counter, unknown if either is.
func (c count) add(d count) count { return count{c.n + d.n, c.ok && d.ok} }

// rate turns a counter into a rate.
type rate struct {
	n  uint64
	at time.Duration
	ok bool
}

// next returns the rate per second since the previous call. It is unknown the
// first time and after a reset (the counter went down); reset tells the two
// apart. A counter that is unknown keeps the baseline.
func (r *rate) next(c count, at time.Duration) (v Value, reset bool) {
	if !c.ok {
		return Value{}, false
	}
	old := *r
	if old.ok && at <= old.at {
		return Value{}, false // no time has passed: keep the baseline
	}
	*r = rate{c.n, at, true}
	switch {
	case !old.ok:
		return Value{}, false
	case c.n < old.n:
		return Value{}, true
	}
	return Known(float64(c.n-old.n) / (at - old.at).Seconds()), false
}

// perSecond is next for those who do not care for resets.
func (r *rate) perSecond(c count, at time.Duration) Value {
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
func (t *total) add(r *rate, c count, at time.Duration, unit float64) Value {
	v, reset := r.next(c, at)
	v = v.scaled(unit)
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
