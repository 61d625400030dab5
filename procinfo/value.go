package procinfo

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
)

// A Value is a number that may be unknown. The zero Value is unknown.
type Value struct {
	V  float64
	OK bool
}

// MarshalJSON returns the number, or null if it is unknown.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.OK {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, v.V, 'f', -1, 64), nil
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (v *Value) UnmarshalJSON(b []byte) error {
	*v = Value{}
	if string(b) == "null" {
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*v = Known(f)
	return nil
}

// Rounded returns v rounded to a number of decimals.
func (v Value) Rounded(decimals int) Value {
	f := math.Pow10(decimals)
	return KnownIf(math.Round(v.V*f)/f, v.OK)
}

// Known returns v as a known value, or an unknown value if v is NaN or infinite.
func Known(v float64) Value {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Value{}
	}
	return Value{v, true}
}

// KnownIf returns v as a known value if ok, otherwise an unknown value.
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

// Percent returns part / whole in percent, unknown if whole is 0.
func Percent(part, whole float64) Value {
	if whole == 0 {
		return Value{}
	}
	return Known(100 * part / whole)
}

// A rate computes the rate of a counter from its last value.
type rate struct {
	n  uint64
	at time.Duration
	ok bool
}

// next returns the rate per second since the previous call. It is unknown in the first call,
// and after a reset, which means that the counter decreased. An unknown counter keeps the
// baseline.
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

// perSecond returns the rate without the report of a reset.
func (r *rate) perSecond(c kernel.Count, at time.Duration) Value {
	v, _ := r.next(c, at)
	return v
}

// plus returns the sum of the known values.
func plus(a, b Value) Value {
	switch {
	case !b.OK:
		return a
	case !a.OK:
		return b
	}
	return Known(a.V + b.V)
}

// A total is a sum of rates. It is unknown if one of the counters was reset: without it, the
// sum would be incomplete.
type total struct {
	sum   Value
	reset bool
}

// add adds the rate of a counter times unit, and returns it.
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
