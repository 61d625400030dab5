package command

import (
	"errors"
	"math"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/xdr"
)

func TestDecimal(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]kind{
		"0": integer, "-0": integer, "5": integer, "-5": integer, "10": integer, "99999999999999999999": integer,
		"1.10": real, ".5": real, "-.5": real, "5.": real, "0.5": real, "1e-3": real, "1E+5": real, "-1.5e10": real, "0e0": real,
		"": text, "-": text, ".": text, "-.": text, "007": text, "-07": text, "00": text, "01.5": text, "+5": text, "0x1F": text,
		"1_000": text, "nan": text, "inf": text, "Infinity": text, "1e": text, "1e+": text, "e5": text, ".e5": text, "1.2.3": text,
		"1,5": text, " 5": text, "5 ": text, "٣": text, "--5": text, "1e5.0": text,
	} {
		if got := decimal(s); got != want {
			t.Errorf("%q: got %d, want %d", s, got, want)
		}
	}
}

func TestParseValue(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]apmon.Param{
		"-2147483648":          apmon.Int("x", math.MinInt32),
		"2147483648":           apmon.Float("x", 2147483648),
		"-9223372036854775809": apmon.Float("x", -9223372036854775809),
		"1.10":                 apmon.Float("x", 1.1),
		"007":                  apmon.String("x", "007"),
		"1e-400":               apmon.Float("x", 0),
	} {
		if got, err := ParseValue("x", s); err != nil || got != want {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
}

// Every number without a forced type reads back as given, and no parameter is sent that
// the receiver would drop.
func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"1", "-5", "007", "1e999", ".", "é", "\x00", "1.7976931348623157e308"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseValue("x", s)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code != DataErr {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if p.Check() != nil || (p.Type() == xdr.TypeString) != (decimal(s) == text) {
			t.Errorf("%q became %v", s, p)
		}
	})
}
