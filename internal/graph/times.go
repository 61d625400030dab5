package graph

import (
	"math"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
)

// times appends the ticks of the time axis.
func (p *plot) times() {
	p.b = append(p.b, `<g class="grid">`...)
	y := p.top + p.height
	for _, t := range p.timeTicks() {
		x := p.x(t.at)
		p.rule("", x, y, x, y+4)
		anchor, half := "middle", textWidth(t.label)/2
		if x+half > float64(p.Width) {
			anchor = "end"
		}
		p.text(x, y+row, anchor, "", t.label)
	}
	p.b = append(p.b, `</g>`...)
}

type timeTick struct {
	at    time.Time
	label string
}

// maxTicks is more than the number of ticks of any time axis, and of steps from midnight to
// the first.
const maxTicks = 100

// timeTicks returns the ticks of the time axis, at full minutes, hours or days.
func (p *plot) timeTicks() []timeTick {
	span := p.To.Sub(p.From)
	seconds := quantity.Step(span.Seconds(), min(max(2, int(p.width/85)), maxTicks/2), "s")
	step := time.Duration(math.Round(seconds * 1e9))
	var ticks []timeTick
	add := func(at time.Time, label string) {
		if at.Before(p.From) || at.After(p.To) || len(ticks) > 0 && !at.After(ticks[len(ticks)-1].at) {
			return
		}
		ticks = append(ticks, timeTick{at, label})
	}
	if p.Elapsed {
		scale := quantity.NewScale(span.Seconds(), "s")
		for d := time.Duration(0); d >= 0 && d <= span && len(ticks) < maxTicks; d += step {
			add(p.From.Add(d), quantity.Join(scale.Text(d.Seconds()), scale.Unit))
		}
		return ticks
	}
	from := p.From.In(p.Location)
	if step <= time.Hour {
		// Each step is one of absolute time, so that the hour that winter time repeats has
		// ticks too.
		_, offset := from.Zone()
		shift := time.Duration(offset) * time.Second
		t := from.Add(shift).Truncate(step).Add(-shift)
		for range maxTicks {
			add(t, clockLabel(t, step))
			t = t.Add(step)
		}
		return ticks
	}
	year, month, day := from.Date()
	perDay := int(math.Max(1, 24*3600/seconds))
	days := int(math.Max(1, seconds/(24*3600)))
	if days > 1 {
		day -= int(from.Unix()/86400) % days
	}
	for i := range maxTicks {
		t := time.Date(year, month, day+i/perDay*days, i%perDay*24/perDay, 0, 0, 0, p.Location)
		add(t, clockLabel(t, step))
	}
	return ticks
}

// clockLabel returns the label of a time on an axis whose ticks are a step apart.
func clockLabel(t time.Time, step time.Duration) string {
	midnight := t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0
	switch {
	case step >= 300*24*time.Hour:
		return t.Format("2006-01")
	case step >= time.Hour && midnight || step >= 24*time.Hour:
		return t.Format("2 Jan")
	case step >= time.Minute:
		return t.Format("15:04")
	case step >= time.Second:
		return t.Format("15:04:05")
	}
	return t.Format("15:04:05.999")
}
