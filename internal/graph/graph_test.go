package graph

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

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
