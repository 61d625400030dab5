package kernel

import "testing"

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]Decimal{
		"0.04": {.04, true}, "10": {10, true}, "7034.72": {7034.72, true}, "2600.000": {2600, true}, "5.": {5, true},
		"": {}, ".5": {}, "-1": {}, "1e5": {}, "1.x": {}, "nan": {}, "99999999999999999999": {},
		"18446744073709551615.999999999": {18446744073709551615.999999999, true},
	} {
		if got := ParseDecimal([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for s, want := range map[string]Count{
		"0-3\n": {4, true}, "0-1,3": {3, true}, "7": {1, true}, "": {}, "3-1": {}, "0-99999999999": {}, "x": {},
	} {
		if got := ParseCPUList([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
