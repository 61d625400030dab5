package kernel

import "bytes"

// A Count is a number that may be unknown. The zero Count is unknown.
type Count struct {
	N  uint64
	OK bool
}

// Float returns the number as arguments for procinfo.KnownIf.
func (c Count) Float() (v float64, ok bool) { return float64(c.N), c.OK }

// Known returns a Count that is known.
func Known(n uint64) Count { return Count{n, true} }

// Add returns the sum of two counts, unknown if one of them is.
func (c Count) Add(d Count) Count { return Count{c.N + d.N, c.OK && d.OK} }

// NextLine cuts the first line off b. line does not include the newline.
func NextLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// NextField cuts the first field off a line. field is empty at the end of the line.
func NextField(b []byte) (field, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\t' && b[j] != '\n' {
		j++
	}
	return b[i:j], b[j:]
}

// SkipFields cuts n fields off a line.
func SkipFields(b []byte, n int) []byte {
	for ; n > 0; n-- {
		_, b = NextField(b)
	}
	return b
}

// ParseUint parses b, which consists of decimal digits.
func ParseUint(b []byte) (c Count) {
	if len(b) == 0 {
		return Count{}
	}
	for _, d := range b {
		if d -= '0'; d > 9 || c.N > (1<<64-1-uint64(d))/10 {
			return Count{}
		} else {
			c.N = c.N*10 + uint64(d)
		}
	}
	c.OK = true
	return c
}

// NextUint cuts the first field off a line and parses it as a decimal number.
func NextUint(b []byte) (Count, []byte) {
	f, rest := NextField(b)
	return ParseUint(f), rest
}

// ParseHex parses b, which consists of hexadecimal digits.
func ParseHex(b []byte) (c Count) {
	if len(b) == 0 || len(b) > 16 {
		return Count{}
	}
	for _, d := range b {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return Count{}
		}
		c.N = c.N<<4 | uint64(d)
	}
	c.OK = true
	return c
}

var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// A Decimal is a number with a fraction that may be unknown. The zero Decimal is unknown.
type Decimal struct {
	V  float64
	OK bool
}

// Float returns the number as arguments for procinfo.KnownIf.
func (d Decimal) Float() (v float64, ok bool) { return d.V, d.OK }

// ParseDecimal parses a decimal number with at most nine digits after the point. It is
// rounded correctly below 2^53.
func ParseDecimal(b []byte) Decimal {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	w := ParseUint(whole)
	if !w.OK {
		return Decimal{}
	}
	if len(frac) == 0 {
		return Decimal{float64(w.N), true}
	}
	f := ParseUint(frac)
	if !f.OK || len(frac) >= len(pow10) {
		return Decimal{}
	}
	p := pow10[len(frac)]
	if w.N < 1<<52/uint64(p) {
		return Decimal{float64(w.N*uint64(p)+f.N) / p, true}
	}
	return Decimal{float64(w.N) + float64(f.N)/p, true}
}
