package command

import (
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/safetext"
)

// ParseValue returns a parameter of a value without a type: a number if it is plain
// decimal, else a text. Errors of this and the following functions have the code
// [DataErr].
func ParseValue(name, value string) (apmon.Param, error) {
	switch decimal(value) {
	case integer:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return checked(apmon.Int(name, n))
		}
		fallthrough // beyond int64: the nearest double
	case real:
		return ParseFloat(name, value)
	}
	return checked(apmon.String(name, value))
}

// ParseInt64 returns an integer parameter.
func ParseInt64(name, value string) (apmon.Param, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return apmon.Param{}, BadValue(name, value, "is not a 64-bit integer")
	}
	return checked(apmon.Int(name, n))
}

// ParseFloat returns a real64 parameter of plain decimal text.
func ParseFloat(name, value string) (apmon.Param, error) {
	if strings.Trim(value, "0123456789+-.eE") != "" { // no hex, underscores or inf
		return apmon.Param{}, BadValue(name, value, "is not a decimal number")
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		why := "is not a decimal number"
		if v != 0 {
			why = "overflows a double"
		}
		return apmon.Param{}, BadValue(name, value, why)
	}
	return checked(apmon.Float(name, v))
}

// ParseText returns a text parameter.
func ParseText(name, value string) (apmon.Param, error) {
	return checked(apmon.String(name, value))
}

// checked returns an error if a receiver would not store the parameter.
func checked(p apmon.Param) (apmon.Param, error) {
	if err := p.Check(); err != nil {
		return p, Errorf(DataErr, "%w", err)
	}
	return p, nil
}

// BadValue returns the error of a value that cannot be sent.
func BadValue(name, value, why string) error {
	return Errorf(DataErr, "parameter %s: %w: %s %s", safetext.Quote(name), apmon.ErrBadValue, safetext.Quote(value), why)
}

type kind int

const (
	text kind = iota
	integer
	real
)

// decimal returns the kind of s. A plain decimal number has an optional minus, digits
// without a leading zero, and optionally a fraction and an exponent. Any other form
// (007, +5, 0x1F, 1_000, nan) may be an identifier and stays text.
func decimal(s string) kind {
	s = strings.TrimPrefix(s, "-")
	whole, s := digits(s)
	if len(whole) > 1 && whole[0] == '0' {
		return text
	}
	k := integer
	fraction := ""
	if strings.HasPrefix(s, ".") {
		k = real
		fraction, s = digits(s[1:])
	}
	if whole == "" && fraction == "" {
		return text
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		k = real
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		exponent, rest := digits(s)
		if exponent == "" {
			return text
		}
		s = rest
	}
	if s != "" {
		return text
	}
	return k
}

// digits cuts the digits off the front of s.
func digits(s string) (front, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}
