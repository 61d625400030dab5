package graph

import (
	"encoding/xml"
	"errors"
	"flag"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2026, 3, 4, 10, 7, 0, 0, time.UTC)

// every returns points at equal distances from start.
func every(d time.Duration, values ...float64) []Point {
	points := make([]Point, len(values))
	for i, v := range values {
		points[i] = Point{Time: start.Add(time.Duration(i) * d), Value: v, Min: v, Max: v}
	}
	return points
}

// wellFormed fails the test unless a piece of a page is XML without NaN or Inf in coordinates.
func wellFormed(t *testing.T, h template.HTML) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(h)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in %.2000s", err, h)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "d", "x", "y", "cx", "cy", "width", "height", "r", "data-plot", "data-from", "data-to", "viewBox":
				if strings.ContainsAny(a.Value, "NaInf") {
					t.Fatalf("%s=%q in %.2000s", a.Name.Local, a.Value, h)
				}
			case "style":
				t.Fatalf("a style attribute: %.2000s", h)
			}
		}
	}
}

func TestOddValues(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for name, values := range map[string][]float64{
		"none": {}, "one": {5}, "zero": {0}, "constant": {3, 3, 3}, "zeros": {0, 0, 0}, "all NaN": {nan, nan}, "infinite": {1, inf, 2, -inf, 3},
		"huge": {math.MaxFloat64, -math.MaxFloat64, 0}, "huge alone": {math.MaxFloat64}, "tiny": {5e-324, 0, 1e-323}, "negative": {-5, -3, -1}, "close": {1e15, 1e15 + .125, 1e15 + .25}, "closer": {1, math.Nextafter(1, 2)},
		"huge and close": {1e300, math.Nextafter(1e300, inf)},
	} {
		for _, unit := range []string{"", "KB", "s", "%", "unix s", "count", "days", "odd <&\" unit"} {
			for _, d := range []time.Duration{time.Millisecond, time.Second, 15 * time.Second, 24 * time.Hour} {
				o := Options{Title: name, Unit: unit, Location: time.UTC}
				series := []Series{{Label: "a", Points: every(d, values...)}, {Label: "<b>&\"'\x00\xff", Points: every(d, values...), Band: true}}
				wellFormed(t, Line(o, series...))
				wellFormed(t, Table(o, series...))
			}
		}
		wellFormed(t, Spark(Sparkline{Min: 1, Dot: true}, values))
		Text(values, 10)
	}
	wellFormed(t, Line(Options{}))
	wellFormed(t, Cells("a", []Cell{{Title: `"<`, Href: `"<`}}))
	wellFormed(t, Bar(.5, `"<`))
}

// attribute returns the values of an attribute of the elements whose text before it contains
// a mark, such as class="line".
func attribute(h template.HTML, mark, name string) (all []string) {
	for rest := range strings.SplitSeq(string(h), "<") {
		tag, _, _ := strings.Cut(rest, ">")
		if !strings.Contains(tag, mark) {
			continue
		}
		if _, v, ok := strings.Cut(tag, " "+name+`="`); ok {
			v, _, _ = strings.Cut(v, `"`)
			all = append(all, v)
		}
	}
	return all
}

// TestGaps: a line is interrupted where values are missing for three times as long as usual,
// and at values that are not finite, and only there.
func TestGaps(t *testing.T) {
	t.Parallel()
	points := every(10*time.Second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	late := points[3].Time.Add(2 * time.Second)
	points[3].Time = late
	missing := append(points[:4:4], points[8:]...)
	infinite := append([]Point(nil), points...)
	infinite[6].Value = math.Inf(1)
	for name, c := range map[string]struct {
		points []Point
		gap    time.Duration
		parts  int
	}{"none": {points, 0, 1}, "missing": {missing, 0, 2}, "infinite": {infinite, 0, 2}, "given": {points, 5 * time.Second, 12}, "long": {missing, time.Hour, 1}} {
		h := Line(Options{Gap: c.gap}, Series{Points: c.points})
		if d := attribute(h, `class="line"`, "d"); len(d) != 1 || strings.Count(d[0], "M") != c.parts {
			t.Errorf("%s: %q, want %d parts", name, d, c.parts)
		}
	}
	alone := append(points[:4:4], points[11])
	alone[0].Time = alone[0].Time.Add(-time.Hour)
	if n := strings.Count(string(Line(Options{}, Series{Points: alone})), "<circle"); n != 2 {
		t.Errorf("%d dots, want those of the first, which is alone, and the last", n)
	}
}

// TestExtremes: of many points, the least and the greatest of each column stay.
func TestExtremes(t *testing.T) {
	t.Parallel()
	values := make([]float64, 10000)
	for i := range values {
		values[i] = 50
	}
	values[1234], values[7777] = 100, 0
	series := Series{Points: every(time.Second, values...)}
	o := Options{Width: 800, Height: 230}
	h := Line(o, series)
	plot := strings.Fields(attribute(h, "svg class", "data-plot")[0])
	top, bottom := " "+plot[1], " "+strconv.FormatFloat(number(t, plot[1])+number(t, plot[3]), 'f', -1, 64)
	d := attribute(h, `class="line dense"`, "d")[0]
	if strings.Count(d, top+"L") != 1 || strings.Count(d, bottom+"L") != 1 {
		t.Errorf("no extremes at%s and%s in %.400s", top, bottom, d)
	}
	series.Points[9999].Value = 100
	if cy := attribute(Line(o, series), `class="dot"`, "cy"); len(cy) != 1 || cy[0] != plot[1] {
		t.Errorf("the dot of the last value is at %s", cy)
	}
	if n := strings.Count(d, "L"); n > 2*800 {
		t.Errorf("%d points of the line", n)
	}
	for _, v := range [][]float64{thin(values, 100), thin(values, 2)} {
		if slices.Max(v) != 100 || slices.Min(v) != 0 {
			t.Errorf("%v", v)
		}
	}
	series.Band = true
	series.Points[500].Max = 200
	if !strings.Contains(string(Line(o, series)), "maximum 200") {
		t.Error("the band lost its maximum")
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// texts returns the texts of the axes.
func texts(h template.HTML) (all []string) {
	for _, part := range strings.Split(string(h), "<text")[1:] {
		_, text, _ := strings.Cut(part, ">")
		text, _, _ = strings.Cut(text, "<")
		all = append(all, text)
	}
	return all
}

func TestTicks(t *testing.T) {
	t.Parallel()
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip(err)
	}
	kolkata, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		name  string
		o     Options
		to    time.Duration
		value float64
		want  string
	}{
		{"a second", Options{Location: time.UTC}, time.Second, 3, "0 1 2 3 10:07:00 10:07:00.2 10:07:00.4 10:07:00.6 10:07:00.8 10:07:01"},
		{"ten minutes", Options{Unit: "%", Location: time.UTC}, 10 * time.Minute, 99, "0 20 40 60 80 100 10:08 10:10 10:12 10:14 10:16"},
		{"an hour", Options{Unit: "KB", Location: zurich}, time.Hour, 3 << 20, "0 1 2 3 11:10 11:20 11:30 11:40 11:50 12:00"},
		{"half zones", Options{Unit: "bytes", Location: kolkata}, 8 * time.Hour, 900, "0 0.25 0.5 0.75 1 16:00 17:00 18:00 19:00 20:00 21:00 22:00 23:00"},
		{"a day", Options{Unit: "s", Location: zurich}, 24 * time.Hour, 5000, "0:00:00 0:30:00 1:00:00 1:30:00 12:00 15:00 18:00 21:00 5 Mar 03:00 06:00 09:00"},
		{"a month and summer time", Options{Unit: "1/s", Location: zurich}, 30 * 24 * time.Hour, -40000, "-40 -30 -20 -10 0 8 Mar 13 Mar 18 Mar 23 Mar 28 Mar 2 Apr"},
		{"elapsed", Options{Unit: "count", Elapsed: true}, 2 * time.Hour, 1, "0 0.2 0.4 0.6 0.8 1 0:00:00 0:15:00 0:30:00 0:45:00 1:00:00 1:15:00 1:30:00 1:45:00 2:00:00"},
	} {
		c.o.From, c.o.To = start, start.Add(c.to)
		h := Line(c.o, Series{Points: []Point{{Time: start, Value: c.value}}})
		all := texts(h)
		for i, s := range all {
			if strings.Contains(s, " to ") || s == "time since the start" { // the header begins before it
				all = all[:i]
				break
			}
		}
		got := strings.Join(all, " ")
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestWinterTime: the hour that is repeated has ticks.
func TestWinterTime(t *testing.T) {
	t.Parallel()
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip(err)
	}
	from := time.Date(2026, 10, 24, 23, 30, 0, 0, time.UTC)
	got := strings.Join(texts(Line(Options{Location: zurich, From: from, To: from.Add(3 * time.Hour)}, Series{Points: []Point{{Time: from, Value: 1}}})), " ")
	if !strings.Contains(got, "01:30 02:00 02:30 02:00 02:30 03:00 03:30") {
		t.Error(got)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		width  int
		want   string
	}{
		{nil, 10, ""}, {[]float64{1}, 0, ""}, {[]float64{0, 0}, 5, "▁▁"}, {[]float64{0, 1, 2, 3, 4, 5, 6, 7}, 8, "▁▂▃▄▅▆▇█"}, {[]float64{1, nan, 2}, 9, "▁ █"},
		{[]float64{100, 100.1}, 2, "▄▅"}, {[]float64{0, 9, 0, 0, 1, 0}, 3, "█▁▁"}, {[]float64{math.Inf(1), 3}, 4, " ▅"}, {[]float64{-math.MaxFloat64, math.MaxFloat64}, 2, "▁█"},
	} {
		if got := Text(c.values, c.width); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

// TestSeriesDiffer: without colours, the dash or a number tells series apart, and each has a
// label.
func TestSeriesDiffer(t *testing.T) {
	t.Parallel()
	dash := map[string]string{}
	for i := range seriesClasses {
		m := regexp.MustCompile(`\.graph \.` + seriesClass(i) + ` \.line \{ stroke-dasharray: (.*?); \}`).FindStringSubmatch(CSS)
		switch {
		case m == nil && i > 0:
			t.Errorf("%s has no dash", seriesClass(i))
		case m != nil && dash[m[1]] != "":
			t.Errorf("%s and %s have the same dash", seriesClass(i), dash[m[1]])
		case m != nil:
			dash[m[1]] = seriesClass(i)
		}
	}
	var series []Series
	for i := range 8 {
		series = append(series, Series{Label: "node" + strconv.Itoa(i), Points: every(time.Second, 1, float64(i))})
	}
	all := texts(Line(Options{Location: time.UTC}, series...))
	for i := range series {
		if n := strconv.Itoa(i + 1); !slices.Contains(all, n) || !slices.Contains(all, n+" node"+strconv.Itoa(i)) {
			t.Errorf("series %s in %q", n, all)
		}
	}
}

// TestContrast: marks have a contrast of 3 to 1, and texts one of 4.5 to 1, on the paper and
// on cards, in light and in dark.
func TestContrast(t *testing.T) {
	t.Parallel()
	colours := map[string][2]string{}
	for _, m := range regexp.MustCompile(`--(\w+): light-dark\((#\w+), (#\w+)\)`).FindAllStringSubmatch(CSS, -1) {
		colours[m[1]] = [2]string{m[2], m[3]}
	}
	for name, least := range map[string]float64{"ink": 4.5, "soft": 4.5, "accent": 3, "ok": 3, "warn": 3, "bad": 3, "s1": 3, "s2": 3, "s3": 3, "s4": 3, "s5": 3, "s6": 3} {
		for _, ground := range []string{"paper", "card"} {
			for i, theme := range []string{"light", "dark"} {
				a, b := luminance(t, colours[name][i]), luminance(t, colours[ground][i])
				if c := (max(a, b) + .05) / (min(a, b) + .05); c < least {
					t.Errorf("%s: %s on %s: contrast %.2f", theme, name, ground, c)
				}
			}
		}
	}
}

// luminance returns the relative luminance of WCAG 2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	rgb, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	l := 0.
	for i, weight := range []float64{.0722, .7152, .2126} {
		v := float64(rgb>>(8*i)&255) / 255
		if v <= .04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+.055)/1.055, 2.4)
		}
		l += weight * v
	}
	return l
}

// TestStandalone: a file of its own has its rules without variables, for readers that know none.
func TestStandalone(t *testing.T) {
	t.Parallel()
	h := Line(Options{Title: "rss", Standalone: true, Location: time.UTC}, Series{Points: every(time.Second, 1, 2, 3)})
	wellFormed(t, h)
	for _, want := range []string{`xmlns="http://www.w3.org/2000/svg"`, "<style>", ".graph .s1 .line, .graph .s1 .band { stroke: #0b6e8f; }", "prefers-color-scheme: dark", `class="paper"`} {
		if !strings.Contains(string(h), want) {
			t.Errorf("no %s", want)
		}
	}
	for _, bad := range []string{"var(", "light-dark"} {
		if strings.Contains(string(h), bad) {
			t.Errorf("%s in a file of its own", bad)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	o := Options{Label: "rss of wn1", Unit: "KB", Location: time.UTC}
	short := string(Table(o, Series{Label: "wn1", Points: every(time.Minute, 1536, math.NaN())}, Series{Label: "<wn2>", Points: every(time.Minute, 1024)}))
	for _, want := range []string{"<caption>rss of wn1</caption>", "&lt;wn2&gt;", `<th scope="row">2026-03-04 10:07:00</th><td class="n" title="1536 KB">1.5 MiB</td><td class="n" title="1024 KB">1 MiB</td>`, `title="NaN`} {
		if !strings.Contains(short, want) {
			t.Errorf("no %s in %s", want, short)
		}
	}
	values := make([]float64, 5000)
	values[2345] = 7 << 20
	long := string(Table(o, Series{Points: every(time.Second, values...)}))
	if n := strings.Count(long, "<tr>"); n > tableRows+1 || n < tableRows/2 || !strings.Contains(long, ">7 GiB<") || !strings.Contains(long, "maximum") {
		t.Errorf("%d rows, %.300s", n, long)
	}
}

// TestOrder: the order of the points does not matter, and the caller's points stay as they are.
func TestOrder(t *testing.T) {
	t.Parallel()
	points := every(time.Second, 1, 5, 2, 4, 3)
	reversed := slices.Clone(points)
	slices.Reverse(reversed)
	given := slices.Clone(reversed)
	a, b := Line(Options{Location: time.UTC}, Series{Points: points}), Line(Options{Location: time.UTC}, Series{Points: reversed})
	if a != b || !slices.Equal(given, reversed) {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestGolden compares the bytes of small pictures.
func TestGolden(t *testing.T) {
	t.Parallel()
	points := every(time.Minute, 1024, 3072, 2048)
	points[1].Min, points[1].Max = 2500, 4000
	for name, got := range map[string]template.HTML{
		"spark.svg": Spark(Sparkline{Label: "load1", Dot: true}, []float64{1, 2, math.NaN(), 4, math.Inf(1), 3}),
		"bar.svg":   Bar(.71, "71 %"),
		"line.svg": Line(Options{Title: "rss", Unit: "KB", Location: time.UTC, Levels: []Level{{"limit", 4096}}, Standalone: true},
			Series{Label: "wn1", Points: points, Band: true}, Series{Label: "wn2", Points: points[:2]}),
		"table.html": Table(Options{Label: "rss of wn1", Unit: "KB", Location: time.UTC}, Series{Points: points, Band: true}),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
				t.Error(err)
			}
		}
		if want, err := os.ReadFile(file); string(want) != string(got) {
			t.Errorf("%s: %s\nwant %s, %v; -update writes it", name, got, want, err)
		}
	}
}

func TestCellsAndBar(t *testing.T) {
	t.Parallel()
	h := string(Cells("3 nodes", []Cell{{Title: "a", Href: "/n?a=1&b=2", Level: 1}, {Title: "b", State: Bad, Href: "/b"}, {Title: "c", State: Silent, Href: "/c"}, {Level: .5}, {Level: math.NaN()}}))
	for _, want := range []string{`role="group" aria-label="3 nodes"`, `<a class="l3" title="a" aria-label="a" href="/n?a=1&amp;b=2"></a>`, `class="bad"`, `class="stale"`, `<i class="l2"`, `<i class="l1"`} {
		if !strings.Contains(h, want) {
			t.Errorf("no %s in %s", want, h)
		}
	}
	for share, want := range map[float64]string{0: "", -1: "", math.Inf(1): `width="84"`, .5: `width="42"`, 2: `bar over`, 1e-9: `width="1"`} {
		if h := string(Bar(share, "x")); want != "" && !strings.Contains(h[5:], want) || want == "" && strings.Contains(h, "fill") {
			t.Errorf("%v: %s", share, h)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a", "KB", 1., 2., 3., int64(0), int64(1e9), int64(15e9), false)
	f.Add("<&\"\x00", "s", math.MaxFloat64, -math.MaxFloat64, math.NaN(), int64(math.MaxInt64), int64(math.MinInt64), int64(1), true)
	f.Add("\xff\u202e", "unix s", 1e300, 1e-300, math.Inf(-1), int64(-1), int64(-62135596800), int64(math.MaxInt64), true)
	f.Add("years", "s", 1e307, -1e307, math.NaN(), int64(math.MaxInt64), int64(math.MinInt64+54), int64(1), false)
	f.Fuzz(func(t *testing.T, label, unit string, a, b, c float64, from, to, step int64, option bool) {
		at := time.Unix(from, 0)
		points := []Point{{at, a, b, c}, {at.Add(time.Duration(step)), b, c, a}, {at.Add(2 * time.Duration(step)), c, a, b}, {time.Unix(to, 0), a, a, a}}
		series := []Series{{label, points, option}, {unit, points[:2], !option}}
		o := Options{Title: label, Unit: unit, Elapsed: option, Levels: []Level{{label, c}}}
		if step%2 == 0 {
			o = Options{Label: label, Unit: unit, From: time.Unix(from, 0), To: time.Unix(to, 0), Location: time.UTC, Width: int(step % 2000), Height: int(step % 500)}
		}
		wellFormed(t, Line(o, series...))
		wellFormed(t, Table(o, series...))
		values := []float64{a, b, c, a, b}
		wellFormed(t, Spark(Sparkline{Label: label, Min: b, Max: c, Dot: option, Stretch: option}, values))
		wellFormed(t, Cells(label, []Cell{{label, unit, a, State(step)}}))
		wellFormed(t, Bar(a, label))
		Text(values, int(step%100))
	})
}

func BenchmarkSpark(b *testing.B) {
	values := make([]float64, 60)
	for i := range values {
		values[i] = float64(i * 7 % 23)
	}
	b.ReportAllocs()
	for b.Loop() {
		Spark(Sparkline{Dot: true}, values)
	}
}

func BenchmarkLine10000(b *testing.B) {
	values := make([]float64, 10000)
	for i := range values {
		values[i] = float64(i * 7 % 2311)
	}
	series := Series{Points: every(time.Second, values...)}
	b.ReportAllocs()
	for b.Loop() {
		Line(Options{Location: time.UTC}, series)
	}
}
