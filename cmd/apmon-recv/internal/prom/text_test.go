package prom

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// unescape is the inverse of Label.
func unescape(v string) string {
	var b []byte
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && isEscape(v[i:]) {
			n, _ := strconv.ParseUint(v[i+2:i+4], 16, 8)
			b = append(b, byte(n))
			i += 3
			continue
		}
		b = append(b, v[i])
	}
	return string(b)
}

// unquote reads the value of a label as Prometheus does.
var unquote = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")

func TestLabel(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"":                      "",
		"plain_0":               "plain_0",
		"été ünd 世界 \U0001f600": "été ünd 世界 \U0001f600",
		"\xff":                  `\xff`,
		`\xff`:                  `\x5cxff`,
		`\x5cxff`:               `\x5cx5cxff`,
		`C:\dir`:                `C:\dir`,
		`C:\x`:                  `C:\x`,
		"\\\xff":                `\\xff`,
		"\\x\xff":               `\x\xff`,
		"a\xe4\xf6b":            `a\xe4\xf6b`,
		"\uFFFD":                "\uFFFD",
		"quote\" end\n":         "quote\" end\n",
		"\x00\r\t\x7f":          "\x00\r\t\x7f",
		"\xed\xa0\x80":          `\xed\xa0\x80`, // a surrogate is not UTF-8
	} {
		if got := Label(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func checkLabel(t *testing.T, raw string) {
	t.Helper()
	v := Label(raw)
	if !utf8.ValidString(v) {
		t.Errorf("%q becomes %q, which is not UTF-8", raw, v)
	}
	if got := unescape(v); got != raw {
		t.Errorf("%q becomes %q, and this %q", raw, v, got)
	}
	quoted := string(appendLabel(nil, raw, true))
	if strings.ContainsAny(quoted, "\n") || unquote.Replace(quoted) != v {
		t.Errorf("%q is written as %q, which is read as %q, want %q", raw, quoted, unquote.Replace(quoted), v)
	}
}

func TestLabelsAreReversible(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{`\`, "x", "f", "5c", "\xff", "\x80", "\"", "\n", "é", "A"}
	for range 20_000 {
		var s string
		for range rnd.IntN(10) {
			s += pieces[rnd.IntN(len(pieces))]
		}
		checkLabel(t, s)
	}
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"", `\xff`, "\xff", "\"\\\n"} {
		f.Add(s)
	}
	f.Fuzz(checkLabel)
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 1: "1", -17: "-17", 1.5: "1.5", 1e-7: "1e-07", 123456789: "123456789", 1e300: "1e+300",
		1 << 53: "9.007199254740992e+15", math.Inf(1): "+Inf", math.Inf(-1): "-Inf",
		math.MaxFloat64: "1.7976931348623157e+308",
	} {
		if got := string(appendNumber(nil, v)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := string(appendNumber(nil, math.NaN())); got != "NaN" {
		t.Error(got)
	}
	for ms, want := range map[int64]string{0: "0", 1500: "1.500", 1_700_000_000_007: "1700000000.007", -1500: "-1.500"} {
		if got := string(appendSeconds(nil, ms)); got != want {
			t.Errorf("%d ms: %s, want %s", ms, got, want)
		}
	}
}
