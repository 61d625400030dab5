package prom

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Label returns a string from outside as the value of a label, which must be UTF-8. Each
// byte that is not becomes \xff, its value in two lower-case hexadecimal digits. So that no
// two strings have one value, a backslash that is followed by x and two hexadecimal digits
// becomes \x5c. All else stays as it is. The original is found by replacing each \xNN by the
// byte NN, from the left.
func Label(s string) string {
	if !utf8.ValidString(s) || strings.Contains(s, `\x`) {
		return string(appendLabel(nil, s, false))
	}
	return s
}

// plain has the ASCII characters that appendLabel copies.
var plain = func() (set [256]bool) {
	for c := range utf8.RuneSelf {
		set[c] = c != '"' && c != '\\' && c != '\n'
	}
	return set
}()

// appendLabel appends what [Label] returns. For an exposition, which is quoted, it then
// escapes quotes, backslashes and line feeds with a backslash.
func appendLabel(b []byte, s string, quoted bool) []byte {
	const hex = "0123456789abcdef"
	done := 0 // of s, copied
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[done:i]...)
		switch {
		case c == '\n' && quoted:
			b = append(b, '\\', 'n')
		case c == '"' && quoted:
			b = append(b, '\\', '"')
		case c == '\\' || c >= utf8.RuneSelf:
			b = append(b, '\\')
			if quoted {
				b = append(b, '\\')
			}
			if c >= utf8.RuneSelf || isEscape(s[i:]) {
				b = append(b, 'x', hex[c>>4], hex[c&15])
			}
		default:
			b = append(b, c)
		}
		i++
		done = i
	}
	return append(b, s[done:]...)
}

// isEscape reports whether s begins like an escaped byte.
func isEscape(s string) bool {
	return len(s) >= 4 && s[1] == 'x' && isHex(s[2]) && isHex(s[3])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// appendHelp appends a help text: OpenMetrics also escapes quotes in it.
func appendHelp(b []byte, s string, f format) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\\' || c == '"' && f == openMetrics:
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendNumber appends a number as Prometheus writes it.
func appendNumber(b []byte, v float64) []byte {
	const most = 1 << 53
	switch {
	case v > -most && v < most && v == math.Trunc(v):
		return strconv.AppendInt(b, int64(v), 10)
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendSeconds appends milliseconds as seconds.
func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
}

// appendTimestamp appends a blank and the time of a sample: in milliseconds, or in seconds
// for OpenMetrics.
func appendTimestamp(b []byte, ms int64, f format) []byte {
	b = append(b, ' ')
	if f == openMetrics {
		return appendSeconds(b, ms)
	}
	return strconv.AppendInt(b, ms, 10)
}
