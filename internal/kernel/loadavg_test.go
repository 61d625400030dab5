package kernel

import "testing"

func TestParseLoadavg(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Loadavg{
		"0.20 1.18 12.12 3/801 11206\n": {[3]Decimal{{0.2, true}, {1.18, true}, {12.12, true}}, Known(3), Known(801)},
		"0.20 1.18 0.12 3/":             {[3]Decimal{{0.2, true}, {1.18, true}, {0.12, true}}, Known(3), Count{}},
		"0.20 x 0.12 /801":              {[3]Decimal{{0.2, true}, {}, {0.12, true}}, Count{}, Known(801)},
		"":                              {},
	} {
		if got := ParseLoadavg([]byte(text)); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}
