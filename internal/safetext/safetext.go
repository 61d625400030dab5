// Package safetext writes strings and numbers from outside so that they are safe to
// print: quoted for an error message, or as JSON.
package safetext

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Quote quotes a name for an error message. It keeps the first 64 bytes, so that
// a hostile text of a megabyte does not fill a log. It does not retain s: passing s itself
// to [fmt.Sprintf] would make every quoted name escape to the heap.
func Quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(s[:most]), len(s))
}

// plainJSON has the bytes that are themselves in a JSON string.
var plainJSON = func() (plain [256]bool) {
	for c := ' '; c <= '~'; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// AppendJSON appends s as a JSON string and returns the extended buffer. Each
// byte that is not UTF-8 becomes U+FFFD. Control characters are escaped, so the
// result cannot steer a terminal.
func AppendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0 // of the bytes that are not yet appended
	for i := 0; i < len(s); {
		c := s[i]
		if plainJSON[c] {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		n := 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(b, "\uFFFD"...)
			case r < 0xa0 || r == '\u2028' || r == '\u2029': // C1 controls; line ends of JavaScript
				b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			default:
				b = append(b, s[i:i+n]...)
			}
		}
		i += n
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// AppendFloat appends the shortest decimal number that reads back as v and
// returns the extended buffer. It uses an exponent below 1e-6 and from 1e21 on,
// as JavaScript does. NaN and infinities are NaN, +Inf and -Inf, which JSON
// cannot hold: see [AppendJSONFloat].
func AppendFloat(b []byte, v float64) []byte {
	// Most values are small whole numbers, which cost less as integers; -0 is no integer.
	if n := int64(v); float64(n) == v && -1e15 < n && n < 1e15 && (n != 0 || !math.Signbit(v)) {
		return strconv.AppendInt(b, n, 10)
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && a < 1e-6 || a >= 1e21 {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// AppendJSONFloat is [AppendFloat] for JSON: NaN and infinities are the strings
// "NaN", "+Inf" and "-Inf".
func AppendJSONFloat(b []byte, v float64) []byte {
	if v-v != 0 { // NaN for NaN and infinities
		return append(AppendFloat(append(b, '"'), v), '"')
	}
	return AppendFloat(b, v)
}
