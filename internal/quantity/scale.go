package quantity

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kind is how values of a unit are shown.
type kind uint8

const (
	plain   kind = iota // a prefix k, M, … in front of the unit, from 10 000 on
	bare                // a number that may be an identifier: whole ones keep all digits
	fixed               // never a prefix
	binary              // bytes, with a prefix Ki, Mi, …
	decimal             // bits and Hz, with a prefix k, M, … from 1000 on
	elapsed             // a time in s
	moment              // a time since 1970 in s
)

// A unit is a unit of our tables.
type unit struct {
	kind kind
	size float64 // of one in the base: B, bit, Hz, s
	base string  // as shown without a prefix
}

const day = 86400

// units are the units that values may have. Others are plain.
var units = sync.OnceValue(func() map[string]unit {
	m := map[string]unit{
		"": {bare, 1, ""}, "count": {plain, 1, ""}, "0 to 1": {fixed, 1, ""}, "text": {fixed, 1, ""},
		"%": {fixed, 1, "%"}, "1/s": {plain, 1, "/s"}, "/s": {plain, 1, "/s"},
		"ns": {elapsed, 1e-9, ""}, "us": {elapsed, 1e-6, ""}, "µs": {elapsed, 1e-6, ""}, "ms": {elapsed, 1e-3, ""},
		"s": {elapsed, 1, ""}, "min": {elapsed, 60, ""}, "h": {elapsed, 3600, ""}, "d": {elapsed, day, ""}, "days": {elapsed, day, ""},
		"unix s": {moment, 1, "UTC"},
		"byte":   {binary, 1, "B"}, "bytes": {binary, 1, "B"}, "bytes/s": {binary, 1, "B/s"},
	}
	for i, p := range prefixes {
		for _, per := range []string{"", "/s"} {
			m[p.si+"bit"+per] = unit{decimal, math.Pow(1000, float64(i)), "bit" + per}
			size := unit{binary, math.Pow(1024, float64(i)), "B" + per}
			for _, name := range []string{p.si + "B", strings.ToUpper(p.si) + "B", p.binary + "B"} {
				m[name+per] = size
			}
		}
		m[p.si+"Hz"] = unit{decimal, math.Pow(1000, float64(i)), "Hz"}
	}
	return m
})

// prefixes are the prefixes of units, of powers of 1000 and of 1024.
var prefixes = [...]struct{ si, binary string }{{"", ""}, {"k", "Ki"}, {"M", "Mi"}, {"G", "Gi"}, {"T", "Ti"}, {"P", "Pi"}, {"E", "Ei"}}

func unitOf(name string) unit {
	u, ok := units()[name]
	if !ok {
		u = unit{plain, 1, name}
	}
	return u
}

// Scale shows values in one unit, as an axis needs. Use [NewScale].
type Scale struct {
	Unit   string  // after the values; may be empty
	Digits int     // significant digits at most; those of [Format] if 0
	factor float64 // from the values' unit to that of the numbers shown, or to seconds
	kind   kind    // elapsed means h:m:s, binary and decimal do not occur
}

// NewScale returns the scale that suits the value v of a unit; see [Format].
func NewScale(v float64, unitName string) Scale {
	a := math.Abs(v)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Scale{factor: 1, kind: fixed}
	}
	u := unitOf(unitName)
	switch u.kind {
	case bare:
		if v == math.Trunc(v) && a < 1e6 {
			return Scale{factor: 1, kind: bare}
		}
		return u.prefixed(a)
	case plain, decimal, binary:
		return u.prefixed(a)
	case elapsed:
		return u.elapsed(a)
	case moment:
		return Scale{Unit: u.base, factor: 1, kind: moment}
	}
	return Scale{Unit: u.base, factor: u.size, kind: fixed}
}

// prefixed returns the scale with the first prefix under which a is small enough.
func (u unit) prefixed(a float64) Scale {
	factor, base, limit := u.size, 1000., 1000.
	switch {
	case u.kind == binary:
		base, limit = 1024, 1024
	case u.kind != decimal && a < 1e21:
		limit = 10000
	case u.kind != decimal:
		limit = math.Inf(1) // an exponent says it better
	}
	for i, p := range prefixes {
		// Dividing the factor, not the value, avoids an overflow.
		if i > 0 {
			factor /= base
		}
		if i < len(prefixes)-1 && round(a*factor) >= limit {
			if u.kind != binary {
				limit = 1000
			}
			continue
		}
		name := p.si
		if u.kind == binary {
			name = p.binary
		}
		if i > 0 && u.kind == plain && u.base != "" && u.base[0] != '/' {
			name += " "
		}
		return Scale{Unit: name + u.base, factor: factor, kind: fixed}
	}
	panic("not reached")
}

// elapsed returns the scale of a time.
func (u unit) elapsed(a float64) Scale {
	s := a * u.size
	switch {
	case s == 0 || round(s) >= 1 && round(s) < 60:
		return Scale{Unit: "s", factor: u.size, kind: fixed}
	case round(s) < 60:
		for _, small := range []struct {
			name string
			size float64
		}{{"ms", 1e3}, {"µs", 1e6}} {
			if round(s*small.size) >= 1 {
				return Scale{Unit: small.name, factor: u.size * small.size, kind: fixed}
			}
		}
		return Scale{Unit: "ns", factor: u.size * 1e9, kind: fixed}
	case s < 100*day:
		return Scale{factor: u.size, kind: elapsed}
	}
	return Scale{Unit: "d", factor: u.size / day, kind: fixed}
}

// round rounds to the digits that are shown.
func round(v float64) float64 {
	if v == 0 || v >= 1e15 {
		return v
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', Digits-1, 64), 64)
	return r
}

// Text returns v, which is in the unit that the scale was made for, in the unit of the scale.
func (s Scale) Text(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Number(v, Digits)
	}
	v *= s.factor
	digits := s.Digits
	if digits <= 0 {
		digits = Digits
	}
	switch s.kind {
	case bare:
		if v == math.Trunc(v) && math.Abs(v) < 1e6 {
			return Number(v, max(digits, 6))
		}
	case elapsed:
		return clock(v)
	case moment:
		// The years that RFC 3339 can write.
		if v >= -62135596800 && v < 253402300800 {
			return time.Unix(int64(math.Floor(v)), 0).UTC().Format(time.DateTime)
		}
	}
	return Number(v, digits)
}

// clock returns seconds, rounded, as h:m:s, with days in front if there are any.
func clock(v float64) string {
	s := int64(math.Round(math.Abs(v)))
	var b []byte
	if v < 0 && s > 0 {
		b = append(b, '-')
	}
	if s >= day {
		b = append(strconv.AppendInt(b, s/day, 10), " d "...)
		s %= day
	}
	b = append(strconv.AppendInt(b, s/3600, 10), ':')
	b = append(b, byte('0'+s/600%6), byte('0'+s/60%10), ':', byte('0'+s%60/10), byte('0'+s%10))
	return string(b)
}

// Step returns the distance of ticks on an axis that spans so much, in a unit of our tables,
// such that there are at most n intervals (at least 1): 1, 2 or 5 times a power of ten; for
// bytes a power of two; for times also those of a clock.
func Step(span float64, n int, unitName string) float64 {
	u := unitOf(unitName)
	least := span / float64(max(n, 1))
	if !(least > 0) || math.IsInf(least, 0) {
		return 1
	}
	switch base := least * u.size; u.kind {
	case binary:
		return math.Pow(2, math.Ceil(math.Log2(least)))
	case elapsed, moment:
		for _, s := range [...]float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, day} {
			if base > .5 && base <= s {
				return s / u.size
			}
		}
		if base > day {
			return decimalStep(least/(day/u.size)) * (day / u.size)
		}
		return decimalStep(base) / u.size
	}
	return decimalStep(least)
}

// decimalStep returns the least of 1, 2 and 5 times a power of ten that is not less than v.
func decimalStep(v float64) float64 {
	exponent := int(math.Floor(math.Log10(v)))
	for exponent < 309 {
		for _, m := range [...]int{1, 2, 5} {
			// Parsing gives the float closest to the decimal number.
			if s, _ := strconv.ParseFloat(strconv.Itoa(m)+"e"+strconv.Itoa(exponent), 64); s >= v {
				return s
			}
		}
		exponent++
	}
	return math.MaxFloat64
}
