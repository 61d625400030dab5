package graph

import (
	"html/template"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
)

// Sizes beside the plot, in CSS pixels.
const (
	row       = 18 // height of a line of text
	rightEdge = 14 // right of the plot
	numbers   = 14 // more of it, for the numbers of the series
)

// plot is a graph with its axes.
type plot struct {
	Options
	series    []Series
	timed     bool    // the ends of the time axis are known
	empty     bool    // no series has a value
	low, high float64 // of the vertical axis, in the unit of the values
	step      float64 // between its ticks
	scale     quantity.Scale

	left, top, width, height float64 // of the rectangle of the lines
	b                        []byte
	ends                     []lineEnd
}

// Line returns series as a graph with axes. Its attributes data-from and data-to have the
// ends of the time axis in Unix seconds, and data-plot the rectangle of the lines as
// "x y width height" in units of the viewBox.
func Line(o Options, series ...Series) template.HTML {
	p := plot{Options: o.withDefaults(), series: sorted(series)}
	p.timed = p.setTimes(p.series)
	p.setValues()
	p.layout()
	p.open()
	if p.empty {
		p.text(p.left+p.width/2, p.top+p.height/2, "middle", "", "no values")
	} else {
		p.grid()
		p.levels()
	}
	if p.timed {
		p.times()
	}
	for i := range p.series {
		p.line(i)
	}
	if p.numbered() {
		p.lineNumbers()
	}
	p.header()
	p.b = append(p.b, `</svg>`...)
	return template.HTML(p.b)
}

// sorted returns the series with their points in the order of time.
func sorted(series []Series) []Series {
	before := func(a, b Point) int { return a.Time.Compare(b.Time) }
	copied := false
	for i := range series {
		if slices.IsSortedFunc(series[i].Points, before) {
			continue
		}
		if !copied {
			series, copied = slices.Clone(series), true
		}
		series[i].Points = slices.Clone(series[i].Points)
		slices.SortStableFunc(series[i].Points, before)
	}
	return series
}

// setTimes determines the time axis. It returns false if nothing does.
func (o *Options) setTimes(series []Series) (known bool) {
	var first, last time.Time
	for i := range series {
		if n := len(series[i].Points); n > 0 {
			if t := series[i].Points[0].Time; first.IsZero() || t.Before(first) {
				first = t
			}
			if t := series[i].Points[n-1].Time; t.After(last) {
				last = t
			}
		}
	}
	known = !first.IsZero() || !o.From.IsZero() && !o.To.IsZero()
	if first.IsZero() {
		first, last = time.Unix(0, 0), time.Unix(0, 0)
	}
	if o.From.IsZero() {
		o.From = first
	}
	if o.To.IsZero() {
		o.To = last
	}
	if !o.To.After(o.From) { // one point is in the middle
		o.From, o.To = o.From.Add(-30*time.Second), o.From.Add(30*time.Second)
	}
	return known
}

// setValues determines the vertical axis.
func (p *plot) setValues() {
	low, high := math.Inf(1), math.Inf(-1)
	for i := range p.series {
		if least, _, most, n := summary(&p.series[i], p.From, p.To); n > 0 {
			low, high = min(low, least), max(high, most)
		}
	}
	for _, l := range p.Levels {
		if finite(l.Value) {
			low, high = min(low, l.Value), max(high, l.Value)
		}
	}
	if p.empty = low > high; p.empty {
		low, high = 0, 1
	}
	low, high = baseline(low, high)
	if high == low { // nothing but zeros
		high = low + 1
	}
	n := max(2, (p.Height-4*row)/30)
	p.step = quantity.Step(high/float64(n)-low/float64(n), 1, p.Unit)
	bound := func(v float64) float64 { return min(max(v, -math.MaxFloat64), math.MaxFloat64) }
	p.low, p.high = bound(math.Floor(low/p.step)*p.step), bound(math.Ceil(high/p.step)*p.step)
	if !(p.high > p.low) {
		p.high = bound(p.low + math.Abs(p.low) + 1)
	}
	greatest := max(math.Abs(p.low), math.Abs(p.high))
	p.scale = quantity.NewScale(greatest, p.Unit)
	// Enough digits that the labels differ.
	p.scale.Digits = min(max(quantity.Digits, 1+int(math.Ceil(math.Log10(greatest/p.step)))), 15)
}

// ticks returns the values of the vertical ticks.
func (p *plot) ticks() []float64 {
	var all []float64
	first := math.Ceil(p.low / p.step)
	for i := 0.; i <= 20; i++ {
		v := (first + i) * p.step
		if !(v <= p.high) || !finite(v) {
			break
		}
		all = append(all, v)
	}
	return all
}

// textWidth estimates the width of a text of 12 px.
func textWidth(s string) float64 {
	w := 0.
	for _, r := range s {
		if r >= 0x1100 {
			w += 12
		} else {
			w += 6.9
		}
	}
	return w
}

// layout determines the rectangle of the lines.
func (p *plot) layout() {
	for _, v := range p.ticks() {
		p.left = max(p.left, textWidth(p.scale.Text(v)))
	}
	p.left = math.Ceil(max(p.left, 20) + 12)
	legend := row * p.legendRows()
	p.Height += legend
	p.top = float64(row + legend + 8)
	p.width = max(float64(p.Width)-p.left-rightEdge, 10)
	if p.numbered() {
		p.width = max(p.width-numbers, 10)
	}
	p.height = max(float64(p.Height)-p.top-row-6, 10)
}

func (p *plot) x(t time.Time) float64 {
	return p.left + p.width*(float64(t.Sub(p.From))/float64(p.To.Sub(p.From)))
}

func (p *plot) y(v float64) float64 {
	return p.top + p.height*((p.high/2-v/2)/(p.high/2-p.low/2))
}

// text appends a text at a place; anchor is start, middle or end.
func (p *plot) text(x, y float64, anchor, class, text string) {
	p.b = append(p.b, `<text x="`...)
	p.b = appendCoordinate(p.b, x)
	p.b = append(p.b, `" y="`...)
	p.b = appendCoordinate(p.b, y)
	if anchor != "start" {
		p.b = append(p.b, `" text-anchor="`+anchor...)
	}
	if class != "" {
		p.b = append(p.b, `" class="`+class...)
	}
	p.b = append(p.b, `">`+escape(text, 200)+`</text>`...)
}

func (p *plot) rule(class string, x1, y1, x2, y2 float64) {
	p.b = append(p.b, `<path`...)
	if class != "" {
		p.b = append(p.b, ` class="`+class+`"`...)
	}
	p.b = append(p.b, ` d="M`...)
	p.point(x1, y1)
	p.b = append(p.b, 'L')
	p.point(x2, y2)
	p.b = append(p.b, `"/>`...)
}

func (p *plot) point(x, y float64) {
	p.b = appendCoordinate(p.b, x)
	p.b = append(p.b, ' ')
	p.b = appendCoordinate(p.b, y)
}

// open appends the start of the picture.
func (p *plot) open() {
	size := strconv.Itoa(p.Width) + " " + strconv.Itoa(p.Height)
	p.b = append(p.b, `<svg class="graph" viewBox="0 0 `+size+`"`...)
	if p.Standalone {
		p.b = append(p.b, ` xmlns="http://www.w3.org/2000/svg" width="`+strconv.Itoa(p.Width)+`" height="`+strconv.Itoa(p.Height)+`"`...)
	}
	p.b = append(p.b, ` role="img" aria-label="`+escape(p.describe(p.series), 4000)+`"`...)
	if !p.Fixed {
		p.b = append(p.b, ` data-from="`...)
		p.b = strconv.AppendFloat(p.b, unixSeconds(p.From), 'f', -1, 64)
		p.b = append(p.b, `" data-to="`...)
		p.b = strconv.AppendFloat(p.b, unixSeconds(p.To), 'f', -1, 64)
		p.b = append(p.b, `" data-plot="`...)
		p.point(p.left, p.top)
		p.b = append(p.b, ' ')
		p.point(p.width, p.height)
		p.b = append(p.b, '"')
	}
	p.b = append(p.b, '>')
	if p.Standalone {
		p.b = append(p.b, `<style>`+standaloneCSS()+`</style><rect class="paper" width="100%" height="100%"/>`...)
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// grid appends the horizontal lines with their values.
func (p *plot) grid() {
	p.b = append(p.b, `<g class="grid">`...)
	for _, v := range p.ticks() {
		y := p.y(v)
		p.rule("", p.left, y, p.left+p.width, y)
		p.text(p.left-8, y+4, "end", "", p.scale.Text(v))
	}
	p.b = append(p.b, `</g>`...)
}

// levels appends the horizontal lines of limits.
func (p *plot) levels() {
	for _, l := range p.Levels {
		if finite(l.Value) {
			y := p.y(l.Value)
			p.rule("level", p.left, y, p.left+p.width, y)
			if y -= 4; y < p.top+row {
				y += row
			}
			p.text(p.left+p.width, y, "end", "level", clip(l.Label, labelLength))
		}
	}
}
