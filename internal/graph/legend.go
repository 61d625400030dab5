package graph

import (
	"slices"
	"strconv"
	"time"
)

// entry is a place of a label in the legend.
type entry struct {
	x, y  float64 // of the middle of the sample of the line
	label string
}

// sampleLength is the length of the line beside a label.
const sampleLength = 40

// labelLength is the number of characters of a label that are shown.
const labelLength = 32

// legend returns the places of the labels, and how many rows they need. A series alone needs
// no label.
func (p *plot) legend() (entries []entry, rows int) {
	if len(p.series) < 2 {
		return nil, 0
	}
	const space = 16
	x, y := 8., float64(row)+13
	rows = 1
	for i := range p.series {
		label := clip(p.series[i].Label, labelLength)
		if p.numbered() {
			label = strconv.Itoa(i+1) + " " + label
		}
		w := sampleLength + 6 + textWidth(label) + space
		if x+w > float64(p.Width) && x > 8 {
			x, y = 8, y+row
			rows++
		}
		entries = append(entries, entry{x, y, label})
		x += w
	}
	return entries, rows
}

func (p *plot) legendRows() int {
	_, rows := p.legend()
	return rows
}

// header appends the unit, the title, the times shown and the legend.
func (p *plot) header() {
	p.b = append(p.b, `<g class="head">`...)
	x := 8.
	if p.Title != "" {
		title := clip(p.Title, 60)
		p.text(x, 13, "start", "title", title)
		x += textWidth(title) + 14
	}
	note := p.scale.Unit
	if slices.ContainsFunc(p.series, func(s Series) bool { return s.Band }) {
		if note != "" {
			note += ", "
		}
		note += "band from minimum to maximum"
	}
	span := ""
	if p.timed {
		span = p.span()
	}
	if note != "" && x+textWidth(note)+textWidth(span)+2*rightEdge < float64(p.Width) {
		p.text(x, 13, "start", "", note)
	} else if p.scale.Unit != "" {
		p.text(x, 13, "start", "", p.scale.Unit)
	}
	p.text(float64(p.Width)-rightEdge, 13, "end", "", span)
	entries, _ := p.legend()
	for i, e := range entries {
		p.b = append(p.b, `<g class="`+seriesClass(i)+`">`...)
		p.rule("line", e.x, e.y-4, e.x+sampleLength, e.y-4)
		p.text(e.x+sampleLength+6, e.y, "start", "", e.label)
		p.b = append(p.b, `</g>`...)
	}
	p.b = append(p.b, `</g>`...)
}

// span returns the times shown, from one to the other.
func (p *plot) span() string {
	from, to := p.From.In(p.Location), p.To.In(p.Location)
	if p.Elapsed {
		return "time since the start"
	}
	layout := "15:04"
	if to.Sub(from) < 10*time.Minute {
		layout = "15:04:05"
	}
	end := to.Format(layout + " MST")
	if from.Format(time.DateOnly) != to.Format(time.DateOnly) {
		end = to.Format("2006-01-02 " + layout + " MST")
	}
	return from.Format("2006-01-02 "+layout) + " to " + end
}
