// Package quantity shows the value of a parameter in a unit that suits it: with four
// significant digits, KiB as MiB or GiB, seconds as hours, minutes and seconds.
package quantity

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Digits is the number of significant digits that [Format] shows at most.
const Digits = 4

// Format returns v, which has a unit of our tables, with at most four significant digits,
// and the unit that it is then in, which may be empty:
//
//   - B, bytes, KB, MB, GB, TB, KiB, MiB, GiB and TiB, also with "/s", mean powers of 1024
//     and become B to EiB;
//   - bit, bit/s and Hz with a decimal prefix become those with a prefix that suits;
//   - ns, us, ms, s, min, h and days become ns to s below a minute, else h:m:s, with days
//     in front as "2 d 3:04:05", from 100 days on days;
//   - "unix s" becomes a date and a time in UTC;
//   - 1/s becomes /s;
//   - count and "0 to 1" become a number without a unit.
//
// Values of 10 000 and more in other units have a prefix k to E in front of the unit, such
// as "k/s"; beyond, and below 0.0001, they have an exponent. Whole numbers below a million
// without a unit (which count is) may be identifiers and keep all digits. NaN, +Inf and -Inf
// are written so, without a unit.
func Format(v float64, unit string) (text, shown string) {
	s := NewScale(v, unit)
	return s.Text(v), s.Unit
}

// String returns v with its unit, as [Format] does, in one text such as "1.5 GiB".
func String(v float64, unit string) string {
	return Join(Format(v, unit))
}

// Join returns a text of [Format] with its unit: "71 %", "4812/s", "3:12:07".
func Join(text, unit string) string {
	if unit == "" || strings.HasPrefix(unit, "/") {
		return text + unit
	}
	return text + " " + unit
}

// Exact returns all digits of v, and as few as identify it.
func Exact(v float64) string {
	if a := math.Abs(v); a >= 1e-6 && a < 1e21 || v == 0 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// ExactUnit returns all digits of v and its unit as it is, such as "1536 KB".
func ExactUnit(v float64, unit string) string { return Join(Exact(v), unit) }

// Number returns v with at most so many significant digits (1 to 17), without zeros at
// the end of a fraction. Below 0.0001 and from 1e15 on it has an exponent.
func Number(v float64, digits int) string {
	return string(appendNumber(nil, v, digits))
}

func appendNumber(b []byte, v float64, digits int) []byte {
	switch {
	case v == 0: // or -0
		return append(b, '0')
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	digits = min(max(digits, 1), 17)
	// The exponent after rounding: 9999.5 becomes 1.000e+04.
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], v, 'e', digits-1, 64)
	at := len(e) - 1
	for e[at] != 'e' {
		at--
	}
	exponent, _ := strconv.Atoi(string(e[at+1:]))
	if exponent < -4 || exponent >= 15 {
		b = append(b, trimZeros(e[:at])...)
		b = append(b, 'e')
		return strconv.AppendInt(b, int64(exponent), 10)
	}
	if exponent >= digits-1 { // no fraction: zeros replace the digits beyond
		rounded, _ := strconv.ParseFloat(string(e), 64)
		return strconv.AppendFloat(b, rounded, 'f', 0, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, v, 'f', digits-1-exponent, 64)
	return b[:start+len(trimZeros(b[start:]))]
}

// trimZeros cuts the zeros at the end of a fraction.
func trimZeros(b []byte) []byte {
	point := false
	for _, c := range b {
		point = point || c == '.'
	}
	if !point {
		return b
	}
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return b
}

// Age returns a duration as people say it: "40 s", "14 min", "3 h 12 min", "2 d 4 h",
// "120 d". One that is negative is "0 s".
func Age(d time.Duration) string {
	s := max(int64(d/time.Second), 0)
	two := func(n int64, unit string, m int64, small string) string {
		text := strconv.FormatInt(n, 10) + " " + unit
		if m > 0 {
			text += " " + strconv.FormatInt(m, 10) + " " + small
		}
		return text
	}
	switch {
	case s < 60:
		return two(s, "s", 0, "")
	case s < 3600:
		return two(s/60, "min", 0, "")
	case s < 86400:
		return two(s/3600, "h", s/60%60, "min")
	case s < 100*86400:
		return two(s/86400, "d", s/3600%24, "h")
	}
	return two(s/86400, "d", 0, "")
}
