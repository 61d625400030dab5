package safetext

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"plain", "node", `"node"`},
		{"empty", "", `""`},
		{"controls", "a\x1b[31m\n", `"a\x1b[31m\n"`},
		{"not UTF-8", "\xff", `"\xff"`},
		{"at the border", strings.Repeat("x", 64), `"` + strings.Repeat("x", 64) + `"`},
		{"beyond it", strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `"… (65 bytes)`},
		{"megabyte", strings.Repeat("x", 1<<20), `"` + strings.Repeat("x", 64) + `"… (1048576 bytes)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := Quote(test.in); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestAppendJSONFloat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   float64
		want string
	}{
		{0, "0"},
		{math.Copysign(0, -1), "-0"},
		{1, "1"},
		{-12345.678, "-12345.678"},
		{1e20, "100000000000000000000"},
		{1e21, "1e+21"},
		{1e-6, "0.000001"},
		{1e-7, "1e-07"},
		{math.MaxFloat64, "1.7976931348623157e+308"},
		{math.SmallestNonzeroFloat64, "5e-324"},
		{1 << 53, "9007199254740992"},
	}
	for _, test := range tests {
		got := string(AppendJSONFloat(nil, test.in))
		if got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
		var back float64
		if err := json.Unmarshal([]byte(got), &back); err != nil || math.Float64bits(back) != math.Float64bits(test.in) {
			t.Errorf("%s reads back as %v, %v", got, back, err)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	const bad = "\uFFFD"
	tests := []struct{ name, in, want string }{
		{"empty", "", `""`},
		{"plain", "Site A/CPU? _Jobs", `"Site A/CPU? _Jobs"`},
		{"quote and backslash", `"\`, `"\"\\"`},
		{"line ends and tab", "\n\r\t", `"\n\r\t"`},
		{"other controls", "\x00\x1b\x7f", `"\u0000\u001b\u007f"`},
		{"C1 controls", "\u0080\u009b\u00a0", `"\u0080\u009b` + "\u00a0" + `"`},
		{"line ends of JavaScript", "\u2028\u2029", `"\u2028\u2029"`},
		{"beyond ASCII", "é日🚀", `"é日🚀"`},
		{"U+FFFD itself", "\uFFFD", `"` + bad + `"`},
		{"one byte that is not UTF-8", "a\xe9b", `"a` + bad + `b"`},
		{"one replacement for each bad byte", "\xff\xfe\xc3", `"` + bad + bad + bad + `"`},
		{"overlong", "\xc0\x80", `"` + bad + bad + `"`},
		{"surrogate", "\xed\xa0\x80", `"` + bad + bad + bad + `"`},
		{"cut off", "\xe6\x97", `"` + bad + bad + `"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := string(AppendJSON(nil, test.in)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
