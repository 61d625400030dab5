// Package graph draws values as SVG for a page, as a table and as text. Its functions depend
// on their arguments alone: the same values give the same bytes.
//
// Their results are safe in a page: every text from outside is escaped, and there are no
// style attributes, so that it obeys a Content-Security-Policy of style-src 'self'. The page
// includes the rules of [CSS].
package graph

import (
	_ "embed"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/internal/quantity"
)

// CSS has the rules of all graphs, and the palette of light and dark pages as variables.
//
//go:embed graph.css
var CSS string

// Point is a value at a time. NaN and infinite values are gaps.
type Point struct {
	Time  time.Time
	Value float64
	// Min and Max bound the values that Value stands for, if the series has a band.
	Min, Max float64
}

// Series is a line of a graph.
type Series struct {
	Label  string // what differs from the other lines, such as the node
	Points []Point
	Band   bool // draw the area between Min and Max
}

// Level is a horizontal line, such as a limit.
type Level struct {
	Label string
	Value float64
}

// Options are the settings of [Line] and [Table].
type Options struct {
	Title string // shown above the graph; may be empty
	Label string // what the graph shows, for those who do not see it; Title if empty
	Unit  string // of the values, as in our tables; see package quantity
	// From and To are the ends of the time axis. Points outside are left out. If they are
	// zero, the points determine them.
	From, To time.Time
	Location *time.Location // of the times shown; time.Local if nil
	Elapsed  bool           // the times shown are those since From
	Levels   []Level
	// Gap is the time without a point after which a line is interrupted. If it is not
	// positive, it is three times the median distance of the points of a series.
	Gap           time.Duration
	Width, Height int  // of the picture, in CSS pixels; 860 × 230 if not positive
	Standalone    bool // a file of its own: with a namespace, the rules and a background
	Fixed         bool // the reader cannot choose a range of time by dragging
}

// Defaults of [Options].
const (
	defaultWidth  = 860
	defaultHeight = 230
)

func (o Options) withDefaults() Options {
	if o.Width <= 0 {
		o.Width = defaultWidth
	}
	if o.Height <= 0 {
		o.Height = defaultHeight
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.Label == "" {
		o.Label = o.Title
	}
	return o
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// appendCoordinate appends a coordinate of a picture with one decimal.
func appendCoordinate(b []byte, v float64) []byte {
	t := int(v*10 + .5)
	if v < 0 {
		b = append(b, '-')
		t = int(-v*10 + .5)
	}
	if n := t / 10; n >= 1000 {
		b = strconv.AppendInt(b, int64(n), 10)
	} else {
		if n >= 100 {
			b = append(b, byte('0'+n/100))
		}
		if n >= 10 {
			b = append(b, byte('0'+n/10%10))
		}
		b = append(b, byte('0'+n%10))
	}
	if t%10 != 0 {
		b = append(b, '.', byte('0'+t%10))
	}
	return b
}

// clip shortens a text to at most n characters and replaces what XML cannot hold.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r < ' ' || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 4*n+4)], "\ufffd"))
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	i := 0
	for at := range s {
		if i == n-1 {
			return s[:at] + "…"
		}
		i++
	}
	return s
}

func escape(s string, n int) string { return template.HTMLEscapeString(clip(s, n)) }

// Sparkline are the settings of [Spark].
type Sparkline struct {
	Width, Height int    // in CSS pixels; 96 × 22 if not positive
	Label         string // for those who do not see it; if empty, the graph is hidden from them
	// Min and Max are values that the vertical range includes, beside those of the line: for
	// a zero baseline both are 0. If Min > Max, the line alone determines the range.
	Min, Max float64
	Dot      bool // at the last value
	Stretch  bool // the page sets the width
}

// Spark returns values at equal distances as a small line without axes.
func Spark(o Sparkline, values []float64) template.HTML {
	if o.Width <= 0 {
		o.Width = 96
	}
	if o.Height <= 0 {
		o.Height = 22
	}
	b := make([]byte, 0, 256+12*min(len(values), 2*o.Width))
	b = append(b, `<svg class="spark" viewBox="0 0 `...)
	b = strconv.AppendInt(b, int64(o.Width), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(o.Height), 10)
	b = append(b, `" width="`...)
	b = strconv.AppendInt(b, int64(o.Width), 10)
	b = append(b, `" height="`...)
	b = strconv.AppendInt(b, int64(o.Height), 10)
	b = append(b, '"')
	if o.Stretch {
		b = append(b, ` preserveAspectRatio="none"`...)
	}
	if o.Label == "" {
		b = append(b, ` aria-hidden="true">`...)
	} else {
		b = append(b, ` role="img" aria-label="`...)
		b = append(b, escape(o.Label, 200)...)
		b = append(b, `">`...)
	}
	return template.HTML(append(o.appendPath(b, values), `</svg>`...))
}

// appendPath appends the line and the dot of a sparkline.
func (o *Sparkline) appendPath(b []byte, values []float64) []byte {
	values = thin(values, 2*o.Width)
	low, high := o.Min, o.Max
	if low > high {
		low, high = math.Inf(1), math.Inf(-1)
	}
	for _, v := range values {
		if finite(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	const edge = 2 // for the width of the line
	h := float64(o.Height - 2*edge)
	// y = zero + slope × (high/2 - v/2); the halves do not overflow.
	zero, slope := edge+h/2, 0.
	if half := high/2 - low/2; half > 1e-300 {
		zero, slope = edge, h/half
	} else if low == 0 { // nothing but zeros lies on the ground
		zero = edge + h
	}
	y := func(v float64) float64 { return zero + slope*(high/2-v/2) }
	step := 0.
	if len(values) > 1 {
		step = float64(o.Width-2*edge) / float64(len(values)-1)
	}
	open := false
	last := -1
	b = append(b, `<path d="`...)
	for i, v := range values {
		if !finite(v) {
			open = false
			continue
		}
		if open {
			b = append(b, 'L')
		} else {
			b = append(b, 'M')
		}
		b = appendCoordinate(b, edge+step*float64(i))
		b = append(b, ' ')
		b = appendCoordinate(b, y(v))
		if !open && (i+1 == len(values) || !finite(values[i+1])) {
			b = append(b, `h.1`...) // a point alone
		}
		open, last = true, i
	}
	b = append(b, `"/>`...)
	if o.Dot && last >= 0 {
		b = append(b, `<circle cx="`...)
		b = appendCoordinate(b, edge+step*float64(last))
		b = append(b, `" cy="`...)
		b = appendCoordinate(b, y(values[last]))
		b = append(b, `" r="1.8"/>`...)
	}
	return b
}

// thin returns at most n values (n even), which keep the least and the greatest of each part
// of the values, in their order. A part without finite values is NaN.
func thin(values []float64, n int) []float64 {
	if len(values) <= n {
		return values
	}
	to := make([]float64, 0, n)
	parts := n / 2
	for i := range parts {
		least, most := -1, -1
		from, until := i*len(values)/parts, (i+1)*len(values)/parts
		for j := from; j < until; j++ {
			if v := values[j]; finite(v) {
				if least < 0 || v < values[least] {
					least = j
				}
				if most < 0 || v > values[most] {
					most = j
				}
			}
		}
		if least < 0 {
			to = append(to, math.NaN(), math.NaN())
			continue
		}
		to = append(to, values[min(least, most)], values[max(least, most)])
	}
	return to
}

// Bar returns the share of a whole, from 0 to 1, as a bar. A share that is not finite gives an
// empty bar. The label is for those who do not see it.
func Bar(share float64, label string) template.HTML {
	const w = 84
	fill := 0.
	if share > 0 {
		fill = min(share, 1) * w
	}
	b := []byte(`<svg class="bar`)
	if share > 1 {
		b = append(b, ` over`...)
	}
	b = append(b, `" viewBox="0 0 84 7" width="84" height="7" role="img" aria-label="`...)
	b = append(b, escape(label, 200)...)
	b = append(b, `"><rect width="84" height="7" rx="3.5"/>`...)
	if fill > 0 {
		b = append(b, `<rect class="fill" width="`...)
		b = appendCoordinate(b, max(fill, 1))
		b = append(b, `" height="7" rx="3.5"/>`...)
	}
	return template.HTML(append(b, `</svg>`...))
}

// State is how a cell is.
type State uint8

// The states of a cell.
const (
	Well   State = iota // filled by its level
	Silent              // hollow
	Bad                 // crossed
)

// Cell is one of many like things, such as a node of a cluster.
type Cell struct {
	Title string  // shown under the pointer
	Href  string  // may be empty
	Level float64 // 0 to 1: how busy it is
	State State
}

// Cells returns a row of cells, which wraps. The label is for those who do not see it; it
// says what the states of the cells are.
func Cells(label string, cells []Cell) template.HTML {
	b := make([]byte, 0, 64+64*len(cells))
	role := "img"
	if slices.ContainsFunc(cells, func(c Cell) bool { return c.Href != "" }) {
		role = "group"
	}
	b = append(b, `<div class="cells" role="`+role+`" aria-label="`...)
	b = append(b, escape(label, 400)...)
	b = append(b, `">`...)
	for i := range cells {
		c := &cells[i]
		tag := "i"
		if c.Href != "" {
			tag = "a"
		}
		class := "l1"
		switch {
		case c.State == Bad:
			class = "bad"
		case c.State == Silent:
			class = "stale"
		case c.Level >= 2./3:
			class = "l3"
		case c.Level >= 1./3:
			class = "l2"
		}
		b = append(b, '<')
		b = append(b, tag...)
		b = append(b, ` class="`...)
		b = append(b, class...)
		b = append(b, `" title="`...)
		b = append(b, escape(c.Title, 200)...)
		if c.Href != "" {
			b = append(b, `" aria-label="`...)
			b = append(b, escape(c.Title, 200)...)
			b = append(b, `" href="`...)
			b = append(b, escape(c.Href, len(c.Href))...)
		}
		b = append(b, `"></`...)
		b = append(b, tag...)
		b = append(b, '>')
	}
	return template.HTML(append(b, `</div>`...))
}

// bars are the characters of [Text], from the lowest to the highest.
var bars = []rune("▁▂▃▄▅▆▇█")

// Text returns values at equal distances as a line of at most width characters, for a
// terminal. A character stands for the greatest of its values; a gap is a space. The range is
// that of the characters' values, but at least a tenth of the greatest, so that small changes
// look small.
func Text(values []float64, width int) string {
	if width <= 0 || len(values) == 0 {
		return ""
	}
	n := min(width, len(values))
	most := make([]float64, n)
	low, high := math.Inf(1), math.Inf(-1)
	for i := range most {
		most[i] = math.NaN()
		for _, v := range values[i*len(values)/n : (i+1)*len(values)/n] {
			if finite(v) && !(most[i] >= v) {
				most[i] = v
			}
		}
		if finite(most[i]) {
			low, high = min(low, most[i]), max(high, most[i])
		}
	}
	if least := max(math.Abs(low), math.Abs(high)) / 10; high/2-low/2 < least/2 {
		low -= least / 2
		high = low + least
	}
	var b strings.Builder
	for _, v := range most {
		switch {
		case !finite(v):
			b.WriteByte(' ')
		case !(high > low):
			b.WriteRune(bars[0])
		default:
			share := (v/2 - low/2) / (high/2 - low/2)
			b.WriteRune(bars[min(max(int(share*float64(len(bars))), 0), len(bars)-1)])
		}
	}
	return b.String()
}

// baseline extends a range to 0, unless the values are so far from it that they would look
// alike.
func baseline(low, high float64) (float64, float64) {
	const apart = 0.05 // of the greatest value
	switch {
	case low > 0 && (low == high || high-low >= apart*high):
		return 0, high
	case high < 0 && (low == high || high-low >= apart*-low):
		return low, 0
	}
	return low, high
}

// summary returns the least, the mean and the greatest of finite values, and how many there
// are. The mean does not overflow.
func summary(s *Series, from, to time.Time) (least, mean, most float64, n int) {
	least, most = math.Inf(1), math.Inf(-1)
	for i := range s.Points {
		p := &s.Points[i]
		if !finite(p.Value) || p.Time.Before(from) || p.Time.After(to) {
			continue
		}
		n++
		mean += p.Value/float64(n) - mean/float64(n)
		low, high := p.Value, p.Value
		if s.Band {
			low, high = p.low(), p.high()
		}
		least, most = min(least, low), max(most, high)
	}
	return least, mean, most, n
}

func (p *Point) low() float64 {
	if finite(p.Min) {
		return min(p.Min, p.Value)
	}
	return p.Value
}

func (p *Point) high() float64 {
	if finite(p.Max) {
		return max(p.Max, p.Value)
	}
	return p.Value
}

// describe returns the label of a graph: what it shows, and the least, mean and greatest value
// of each series.
func (o *Options) describe(series []Series) string {
	var b strings.Builder
	b.WriteString(clip(o.Label, 200))
	for i := range series {
		const most = 12
		if i == most {
			b.WriteString("; and others")
			break
		}
		s := &series[i]
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		if s.Label != "" {
			b.WriteString(clip(s.Label, 60) + ": ")
		}
		least, mean, greatest, n := summary(s, o.From, o.To)
		if n == 0 {
			b.WriteString("no values")
			continue
		}
		b.WriteString("minimum " + quantity.String(least, o.Unit) + ", mean " + quantity.String(mean, o.Unit) +
			", maximum " + quantity.String(greatest, o.Unit))
	}
	return b.String()
}
