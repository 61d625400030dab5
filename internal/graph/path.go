package graph

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// sample is what is drawn in one column of a plot.
type sample struct {
	x          float64
	first      float64 // value at x, the mean with a band
	last       float64 // value of the last point, the mean with a band
	low, high  float64
	lowIsFirst bool // the low came before the high
	n          int
}

// seriesClasses is the number of styles of lines.
const seriesClasses = 6

// numbered reports whether there are more series than styles, so that numbers differ.
func (p *plot) numbered() bool { return len(p.series) > seriesClasses }

func seriesClass(i int) string { return "s" + strconv.Itoa(i%seriesClasses+1) }

// gap returns the time without a point after which the line of a series is interrupted.
func (o *Options) gap(points []Point) time.Duration {
	if o.Gap > 0 {
		return o.Gap
	}
	const most = 1000 // distances suffice for the median
	every := max(1, len(points)/most)
	var distances []time.Duration
	for i := every; i < len(points); i += every {
		distances = append(distances, points[i].Time.Sub(points[i-1].Time))
	}
	if len(distances) == 0 {
		return time.Duration(1<<63 - 1)
	}
	slices.Sort(distances)
	return max(3*distances[len(distances)/2], time.Second)
}

// segments returns what is drawn of a series: parts without gaps, with at most one sample for
// each column of the plot.
func (p *plot) segments(s *Series) [][]sample {
	gap := p.gap(s.Points)
	var all [][]sample
	var part []sample
	var last time.Time
	for i := range s.Points {
		point := &s.Points[i]
		if point.Time.Before(p.From) || point.Time.After(p.To) {
			continue
		}
		broken := !finite(point.Value)
		if len(part) > 0 && (broken || point.Time.Sub(last) > gap) {
			all, part = append(all, part), nil
		}
		last = point.Time
		if broken {
			continue
		}
		part = addSample(part, s, point, p.x(point.Time))
	}
	if len(part) > 0 {
		all = append(all, part)
	}
	return all
}

// addSample adds a point to the last sample if that is in the same column, else as a new one.
func addSample(part []sample, s *Series, point *Point, x float64) []sample {
	low, high := point.Value, point.Value
	if s.Band {
		low, high = point.low(), point.high()
	}
	if n := len(part); n > 0 && int(part[n-1].x) == int(x) {
		c := &part[n-1]
		c.n++
		if s.Band {
			c.first += point.Value/float64(c.n) - c.first/float64(c.n)
			c.last = c.first
		} else {
			c.last = point.Value
		}
		if low < c.low {
			c.low, c.lowIsFirst = low, false
		}
		if high > c.high {
			c.high, c.lowIsFirst = high, true
		}
		return part
	}
	return append(part, sample{x: x, first: point.Value, last: point.Value, low: low, high: high, lowIsFirst: true, n: 1})
}

// line appends a series: its band, its line, and a dot at the last value.
func (p *plot) line(i int) {
	s := &p.series[i]
	parts := p.segments(s)
	if len(parts) == 0 {
		return
	}
	p.b = append(p.b, `<g class="`+seriesClass(i)+`">`...)
	if s.Band {
		p.b = append(p.b, `<path class="band" d="`...)
		for _, part := range parts {
			p.band(part)
		}
		p.b = append(p.b, `"/>`...)
	}
	dense := len(s.Points) > int(p.width) && !s.Band
	if p.b = append(p.b, `<path class="line`...); dense {
		p.b = append(p.b, ` dense`...)
	}
	p.b = append(p.b, `" d="`...)
	for _, part := range parts {
		p.path(part, s.Band)
	}
	p.b = append(p.b, `"/>`...)
	for j, part := range parts {
		if len(part) == 1 && part[0].n == 1 && j < len(parts)-1 {
			p.dot(&part[0])
		}
	}
	end := parts[len(parts)-1]
	last := &end[len(end)-1]
	p.dot(last)
	p.ends = append(p.ends, lineEnd{i + 1, last.x, p.y(last.last)})
	p.b = append(p.b, `</g>`...)
}

// lineEnd is the last value of a series.
type lineEnd struct {
	number int
	x, y   float64
}

// lineNumbers appends the numbers of the series beside their ends, one below the other where
// ends are close.
func (p *plot) lineNumbers() {
	const apart = 11
	slices.SortStableFunc(p.ends, func(a, b lineEnd) int { return cmp.Compare(a.y, b.y) })
	for i := range p.ends {
		e := &p.ends[i]
		if i > 0 && e.x == p.ends[i-1].x {
			e.y = max(e.y, p.ends[i-1].y+apart)
		}
		p.text(e.x+5, e.y+4, "start", "", strconv.Itoa(e.number))
	}
}

// pen returns a function that appends the next point of a line: it moves to the first.
func (p *plot) pen() func(x, v float64) {
	command := byte('M')
	return func(x, v float64) {
		p.b = append(p.b, command)
		p.point(x, p.y(v))
		command = 'L'
	}
}

// path appends one part of a line. Without a band it passes through the least and the greatest
// value of each column.
func (p *plot) path(part []sample, band bool) {
	to := p.pen()
	for i := range part {
		c := &part[i]
		switch {
		case band || c.n == 1 || c.low == c.high:
			to(c.x, c.first)
		case c.lowIsFirst:
			to(c.x, c.low)
			to(c.x, c.high)
		default:
			to(c.x, c.high)
			to(c.x, c.low)
		}
	}
}

// band appends the area between the least and the greatest values of a part.
func (p *plot) band(part []sample) {
	to := p.pen()
	for i := range part {
		to(part[i].x, part[i].high)
	}
	for i := len(part) - 1; i >= 0; i-- {
		to(part[i].x, part[i].low)
	}
	p.b = append(p.b, 'Z')
}

func (p *plot) dot(c *sample) {
	p.b = append(p.b, `<circle class="dot" cx="`...)
	p.b = appendCoordinate(p.b, c.x)
	p.b = append(p.b, `" cy="`...)
	p.b = appendCoordinate(p.b, p.y(c.last))
	p.b = append(p.b, `" r="2.5"/>`...)
}
