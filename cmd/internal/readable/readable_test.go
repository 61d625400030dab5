package readable

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/apmon-go/apmon/xdr"
)

// units are those of some parameters.
func units(param string) (unit, meaning string) {
	return map[string]string{"mem_free": "MB", "cpu_usage": "%", "run_time": "s", "interrupts_R": "1/s", "processes": "count"}[param], ""
}

var at = time.Unix(1_600_000_000, 0)

func TestAppend(t *testing.T) {
	t.Parallel()
	const head = "2020-09-13T12:26:40Z  h  "
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		name string
		o    Options
		at   time.Time
		from string
		d    xdr.Datagram
		want string
	}{
		{"its own time", Options{}, at, "[::1]:1", xdr.Datagram{Cluster: "C", Node: "N", Time: 1_700_000_000, Timed: true}, "2023-11-14T22:13:20Z  [::1]:1  C/N"},
		{"time of arrival", Options{}, at, "h", xdr.Datagram{Cluster: "C", Node: "N"}, head + "C/N"},
		{"a time that means now", Options{}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Timed: true}, head + "C/N"},
		{"nothing known", Options{}, time.Time{}, "", xdr.Datagram{}, `""/""`},
		{"names as they occur", Options{}, at, "h", xdr.Datagram{Cluster: "A_Jobs", Node: "a/b?c", Params: []xdr.Param{xdr.Int("disk_/var", -5), xdr.Int("αβγ", 1)}}, head + "A_Jobs/a/b?c  disk_/var=-5  αβγ=1"},
		{"odd names", Options{Width: 200}, at, "h", xdr.Datagram{Cluster: "a/b", Node: "x y", Params: []xdr.Param{xdr.Int("a=b", 1), xdr.Int(`q"`, 2), xdr.Int("", 3), xdr.Int("\u202e", 4), xdr.Int("\xff", 5), xdr.Int("\u009b", 6)}},
			head + `"a/b"/"x y"  "a=b"=1  "q\""=2  ""=3  "\u202e"=4  "\xff"=5  "\u009b"=6`},
		{"four digits and units", Options{Width: 200, Units: units}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{
			xdr.Float("mem_free", 18091.4375), xdr.Float("cpu_usage", 17.961165048), xdr.Real32("run_time", 11527), xdr.Int("interrupts_R", 61345), xdr.Float("other", 1.1787352530480775)}},
			head + "C/N  mem_free=17.67 GiB  cpu_usage=17.96 %  run_time=3:12:07  interrupts_R=61.34 k/s  other=1.179"},
		{"integers may be identifiers", Options{Width: 200, Units: units}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("job", 471123456), xdr.Int64("l", 1<<60), xdr.Int64("processes", 123456)}},
			head + "C/N  job=471123456  l=1152921504606846976  processes=123.5 k"},
		{"exact", Options{Width: 200, Exact: true, Units: units}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Float("mem_free", 18091.4375), xdr.Float("f", 0.1), xdr.Real32("r", 0.5), xdr.Float("e", 1e300), xdr.String("n", "a\nb\u2028")}},
			head + `C/N  mem_free=18091.4375  f=0.1  r=0.5  e=1e+300  n="a\nb\u2028"`},
		{"columns", Options{Width: 50}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 2), xdr.Int("c", 3), xdr.Int("d", 4), xdr.Int("twelve", 12345), xdr.Int("a_name_of_21_columns", 6), xdr.Int("e", 7), xdr.Int("f", 8), xdr.Int("g", 9), xdr.Int("h", 10)}}, head + `C/N
  a=1             b=2             c=3
  d=4             twelve=12345
  a_name_of_21_columns=6          e=7
  f=8             g=9             h=10`},
		{"a wide one among many", Options{Width: 40}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{
			xdr.Int("a", 1), xdr.Int("b", 2), xdr.Int("c", 3), xdr.Int("d", 4), xdr.Int("e", 5), xdr.Int("f", 6), xdr.Int("g", 7), xdr.Int("h", 8), xdr.Int("i", 9), xdr.String("text", "0123456789"), xdr.Int("j", 10)}}, head + `C/N
  a=1   b=2   c=3   d=4   e=5   f=6
  g=7   h=8   i=9   text="0123456789"
  j=10`},
		{"long texts are cut", Options{Width: 40}, at, "h", xdr.Datagram{Cluster: "C", Node: long, Params: []xdr.Param{xdr.String("s", long), xdr.Int(long, 1), xdr.Int("x", 2)}}, head + `C/xxxxxxxxxxxxxxxxxxx…
  s="xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"…
  xxxxxxxxxxxxxxxxxxxxxxxxxxx…=1
  x=2`},
		{"but not with exact", Options{Width: 40, Exact: true}, at, "h", xdr.Datagram{Cluster: "C", Node: long, Params: []xdr.Param{xdr.String("s", long)}}, head + "C/" + long + "\n  s=\"" + long + `"`},
		{"wide characters", Options{Width: 40}, at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.String("日本", "語語"), xdr.Int("y", 22222), xdr.Int("e\u0301e\u0301e\u0301e\u0301", 3), xdr.String("z", "1234567")}}, head + `C/N
  日本="語語"  y=22222      ` + "e\u0301e\u0301e\u0301e\u0301=3" + `
  z="1234567"`},
		{"marks on marks", Options{}, at, "h", xdr.Datagram{Cluster: "C", Node: "a\u0301\u0301\u0301\u0301"}, head + `C/"a\u0301\u0301\u0301\u0301"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := Writer{Options: c.o}
			if got := string(w.Append(nil, c.at, c.from, &c.d, nil)); got != c.want+"\n" {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	w := Writer{Options: Options{Width: 200}}
	d := xdr.Datagram{Version: "2.2_\x1b", Instance: 17, Seq: 3, Cluster: "C\x1b", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}
	for _, c := range []struct {
		d    *xdr.Datagram
		err  error
		want string
	}{
		{&d, errors.New("no time"), `refused: no time  "C\x1b"/N  version="2.2_\x1b"  instance=17  seq=3`},
		{nil, errors.New("it says \x1b[2J"), `refused: "it says \x1b[2J"`},
		{&xdr.Datagram{}, errors.New("bad"), "refused: bad"},
		{&xdr.Datagram{Cluster: "C", Node: "N", Params: d.Params}, fmt.Errorf("parameter 2: %w", xdr.ErrTruncated), "C/N  x=1  truncated: parameter 2: " + xdr.ErrTruncated.Error()},
	} {
		if got, want := string(w.Append(nil, at, "h", c.d, c.err)), "2020-09-13T12:26:40Z  h  "+c.want+"\n"; got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

var colors = regexp.MustCompile("\x1b\\[(1|2|31|33|0)m")

// TestHostile: whatever a datagram holds, only our own colours steer the terminal, and with
// or without them the text is the same. Lines are as wide as the terminal at most.
func TestHostile(t *testing.T) {
	t.Parallel()
	var datagrams []xdr.Datagram
	for _, name := range []string{"clients.jsonl", "hostile.jsonl"} {
		f, err := os.Open(filepath.Join("..", "..", "..", "xdr", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for dec := json.NewDecoder(f); ; {
			var v struct{ Hex string }
			if err := dec.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			b, _ := hex.DecodeString(v.Hex)
			var d xdr.Datagram
			if d.Decode(b) == nil {
				datagrams = append(datagrams, d)
			}
		}
	}
	for _, s := range []string{"\x1b[2J", "\u202eabc", "\r\n", "\u009b31m", strings.Repeat("x", 32<<10), strings.Repeat("日", 9999), strings.Repeat("\x1b", 9999), strings.Repeat("\u0301", 9999), "\xff\xfe", "\u2067a\u2069", strings.Repeat("🚀", 99)} {
		datagrams = append(datagrams, xdr.Datagram{Cluster: s, Node: s, Params: []xdr.Param{xdr.Int(s, 1), xdr.String("s", s), xdr.String(s, s)}})
	}
	if len(datagrams) < 20 {
		t.Fatalf("%d datagrams", len(datagrams))
	}
	for _, o := range []Options{{Width: 80}, {Width: 200}, {Width: 1}, {Exact: true}} {
		for i := range datagrams {
			w := Writer{Options: o}
			plain := string(w.Append(nil, at, "h", &datagrams[i], nil))
			w.Color = true
			if got := colors.ReplaceAllString(string(w.Append(nil, at, "h", &datagrams[i], nil)), ""); got != plain {
				t.Errorf("with colours:\n%s\nwithout:\n%s", got, plain)
			}
			for n, line := range strings.Split(strings.TrimSuffix(plain, "\n"), "\n") {
				if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("not printable: %.200q", line)
				}
				if most := max(o.Width, minWidth); n > 0 && !o.Exact && Width(line) > most {
					t.Errorf("%d columns in %d: %.300s", Width(line), most, line)
				}
				if n > 0 && !strings.HasPrefix(line, "  ") {
					t.Errorf("line %d does not belong to a datagram: %.100s", n, line)
				}
			}
		}
	}
}

// Seventy parameters are in as many words as they are, whatever the width.
func TestNothingIsBroken(t *testing.T) {
	t.Parallel()
	d := xdr.Datagram{Cluster: "C", Node: "N"}
	for i := range 70 {
		d.Params = append(d.Params, xdr.Float(strings.Repeat("n", i%23+1), float64(i)))
	}
	for width := 40; width < 300; width += 7 {
		w := Writer{Options: Options{Width: width}}
		words := strings.Fields(string(w.Append(nil, time.Time{}, "", &d, nil)))
		if len(words) != 71 {
			t.Fatalf("%d words at %d columns", len(words), width)
		}
		for i, word := range words[1:] {
			if want := fmt.Sprintf("%s=%d", d.Params[i].Name, i); word != want {
				t.Errorf("%s, want %s", word, want)
			}
		}
	}
}

func TestColor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}, {"", "", false}} {
		if got := Color(func(name string) string { return map[string]string{"NO_COLOR": c.noColor, "TERM": c.term}[name] }); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if w := New(io.Discard, func(string) string { return "xterm" }, Options{}); w.Color || w.term != nil {
		t.Error("colours without a terminal")
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"日本語", 1, "…"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"abé", 2, "a…"}, {"", 0, ""}} {
		if got := Cut(c.in, c.width); got != c.want || Width(got) > c.width {
			t.Errorf("%q in %d: %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one two  three", 8, []string{"one two", "three"}},
		{"one two", 7, []string{"one two"}},
		{"a-very-long-word x", 5, []string{"a-very-long-word", "x"}},
		{"ééé ééé", 7, []string{"ééé ééé"}}, // columns, not bytes
		{"日本 語", 6, []string{"日本", "語"}},
	} {
		if got := Wrap(tt.text, tt.width); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d: got %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}
