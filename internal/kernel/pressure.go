package kernel

import "bytes"

// ParsePressure parses a file in /proc/pressure. It returns the time in which some, or all,
// tasks waited, in percent of the last 60 seconds.
//
// See https://docs.kernel.org/accounting/psi.html.
func ParsePressure(b []byte) (some, full Decimal) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, line := NextField(line)
		var v Decimal
		for {
			var f []byte
			f, line = NextField(line)
			if len(f) == 0 {
				break
			}
			if s, ok := bytes.CutPrefix(f, []byte("avg60=")); ok {
				v = ParseDecimal(s)
			}
		}
		switch string(key) {
		case "some":
			some = v
		case "full":
			full = v
		}
	}
	return some, full
}
