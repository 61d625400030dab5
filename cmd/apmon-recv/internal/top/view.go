package top

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/quantity"
)

// Widths in columns.
const (
	minName    = 18
	valueWidth = 9
	ageWidth   = 5
	minWidth   = 40
)

// cursor marks the row that the keys are about, also without colours.
const cursor = "›"

// Styles of a terminal. Red and yellow are for trouble alone.
const (
	plain    = ""
	bold     = "1"
	faint    = "2"
	reverse  = "7"
	red      = "31"
	yellow   = "33"
	accented = "36" // graphs
)

// line is a line of the screen.
type line struct {
	b     strings.Builder
	n     int // columns
	width int
	color bool
}

// add adds a safe text with a style. What is beyond the width is cut.
func (l *line) add(style, s string) {
	s = readable.Cut(s, l.width-l.n)
	if s == "" || l.n >= l.width {
		return
	}
	l.n += readable.Width(s)
	if style == plain || !l.color {
		l.b.WriteString(s)
		return
	}
	l.b.WriteString("\x1b[" + style + "m" + s + "\x1b[0m")
}

// to fills the line with blanks up to a column.
func (l *line) to(column int) {
	if column = min(column, l.width); l.n < column {
		l.b.WriteString(strings.Repeat(" ", column-l.n))
		l.n = column
	}
}

// left and right add a text in a column of so many columns.
func (l *line) left(style, s string, width int) {
	end := l.n + width
	l.add(style, readable.Cut(s, width))
	l.to(end)
}

func (l *line) right(style, s string, width int) {
	s = readable.Cut(s, width)
	l.to(l.n + width - readable.Width(s))
	l.add(style, s)
}

func (l *line) String() string { return l.b.String() }

// screen makes lines.
type screen struct {
	width int
	color bool
	lines []string
}

func (s *screen) line() *line { return &line{width: s.width, color: s.color} }

func (s *screen) put(l *line) { s.lines = append(s.lines, l.String()) }

func (s *screen) text(style, text string) {
	l := s.line()
	l.add(style, text)
	s.put(l)
}

// rate returns a number per second, such as "61.3k".
func rate(v float64) string {
	text, unit := quantity.Format(v, "count")
	return text + strings.TrimSpace(unit)
}

// headline is the first line.
func (s *screen) headline(st *state, name, mark string) {
	l := s.line()
	o := st.overview
	switch {
	case o == nil && st.err == nil:
		l.add(bold, name)
		l.add(faint, "  waiting for the first answer")
	case o == nil:
		l.add(bold, name)
	default:
		l.add(bold, name)
		senders := "senders"
		if o.Totals.Senders == 1 {
			senders = "sender"
		}
		l.add(plain, fmt.Sprintf("  %s dg/s  %s par/s  %s %s", rate(o.DatagramsPerSecond), rate(o.ParametersPerSecond), rate(float64(o.Totals.Senders)), senders))
		style := plain
		if o.LostRatio >= 0.01 {
			style = yellow
		}
		l.add(style, "  lost "+quantity.String(100*o.LostRatio, "%"))
		if o.RefusedPerMinute >= 1 {
			l.add(yellow, "  refused "+rate(o.RefusedPerMinute)+"/min")
		}
	}
	clock := ""
	if !st.at.IsZero() {
		clock = st.at.Local().Format(time.TimeOnly)
	}
	if mark != "" {
		clock = mark + "  " + clock
	}
	l.to(s.width - readable.Width(clock))
	l.add(faint, clock)
	s.put(l)
	if st.err != nil {
		l := s.line()
		failed := "✕ no answer"
		if age := st.asked.Sub(st.since); o != nil && age >= time.Second {
			failed += " for " + shortAge(age)
		}
		l.add(red, failed+": "+safe(st.err.Error(), s.width))
		s.put(l)
	}
}

// shortAge returns a duration in at most ageWidth columns: 40s, 14m, 3h12m, 2d4h.
func shortAge(d time.Duration) string {
	n := max(int64(d/time.Second), 0)
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm", n/60)
	case n < 10*3600:
		return fmt.Sprintf("%dh%dm", n/3600, n/60%60)
	case n < 86400:
		return fmt.Sprintf("%dh", n/3600)
	case n < 10*86400:
		return fmt.Sprintf("%dd%dh", n/86400, n/3600%24)
	case n < 1000*86400:
		return fmt.Sprintf("%dd", n/86400)
	}
	return "old"
}

// problems adds what needs attention, in at most so many lines.
func (s *screen) problems(st *state, most int) {
	if st.overview == nil || most < 1 {
		return
	}
	all := st.overview.Problems
	shown := all[:min(len(all), most)]
	if len(all) > most {
		shown = all[:most-1]
	}
	for _, p := range shown {
		l := s.line()
		mark, style := "! ", yellow
		if p.Level == "bad" {
			mark, style = "✕ ", red
		}
		age := ""
		if !p.Since.IsZero() {
			age = shortAge(st.at.Sub(p.Since)) + " ago"
		}
		room := s.width - len(age) - 2
		l.add(style, mark)
		l.add(plain, safe(p.Text, room-2))
		if room = room - l.n - 2; p.Detail != "" && room > 8 {
			l.add(faint, "  "+safe(p.Detail, room))
		}
		l.to(s.width - len(age))
		l.add(faint, age)
		s.put(l)
	}
	if n := len(all) - len(shown); n > 0 {
		s.text(yellow, fmt.Sprintf("! and %d more", n))
	}
}

// layout is how many columns of parameters fit, and how many of them with a graph.
type layout struct{ name, columns, sparks int }

func (s *screen) layout(columns int) layout {
	room := s.width - 2 - 2 - ageWidth
	l := layout{}
	for l.columns < columns && room-minName >= valueWidth+2 {
		l.columns++
		room -= valueWidth + 2
		// The first has a graph, unless there is no room.
		if l.columns == 1 && room-minName >= sparkWidth+2 {
			l.sparks++
			room -= sparkWidth + 2
		}
	}
	for l.sparks > 0 && l.sparks < l.columns && room-minName-8 >= sparkWidth+2 {
		l.sparks++
		room -= sparkWidth + 2
	}
	l.name = min(max(room, 1), 44)
	return l
}

// count is how many nodes of a cluster are well, in words if they are jobs.
func count(g *group) string {
	if g.Jobs > 0 && g.Jobs == g.Nodes {
		return strconv.Itoa(g.Live) + " running"
	}
	return fmt.Sprintf("%d/%d", g.Live+g.Ended, g.Nodes)
}

// clusterRow adds the line of a cluster, with the names of the columns if it is open.
func (s *screen) clusterRow(g *group, lay layout, selected bool, sorted string) {
	l := s.line()
	style, mark := bold, "▸"
	if g.nodes != nil {
		mark = "▾"
	}
	if selected {
		style, mark = reverse, cursor+mark
	}
	l.left(style, mark, 2)
	tail := "  " + count(g)
	most := s.width - 24
	if g.nodes != nil && lay.columns > 0 {
		most = lay.name
	}
	l.add(style, safe(g.Name, max(most-len(tail), 8)))
	l.add(plain, tail)
	for _, t := range []struct {
		n     int
		word  string
		style string
	}{{g.Failing, "failing", red}, {g.Silent, "silent", yellow}, {g.Ended, "ended", faint}} {
		if t.n > 0 && (g.nodes == nil || lay.columns == 0) {
			l.add(t.style, fmt.Sprintf("  %d %s", t.n, t.word))
		}
	}
	if g.nodes != nil {
		l.to(2 + lay.name)
		for i, c := range g.columns[:min(lay.columns, len(g.columns))] {
			mark, style := "", faint
			if c == sorted {
				mark, style = "↓", bold
			}
			l.add(plain, "  ")
			l.right(style, safe(c, valueWidth-readable.Width(mark))+mark, valueWidth)
			if i < lay.sparks {
				l.add(plain, "  ")
				title := ""
				if i == 0 {
					title = "last 10 min"
				}
				l.left(faint, title, sparkWidth)
			}
		}
		l.to(s.width - ageWidth)
		if sorted == byAge {
			l.right(bold, "age↓", ageWidth)
		} else {
			l.right(faint, "age", ageWidth)
		}
	}
	s.put(l)
}

// nodeRow adds the line of a node.
func (s *screen) nodeRow(st *state, g *group, n *dashboard.Node, lay layout, selected bool) {
	l := s.line()
	mark, style := "", plain
	switch n.State {
	case dashboard.Failing:
		mark, style = "✕", red
	case dashboard.Silent:
		mark, style = "!", yellow
	case dashboard.Ended:
		mark, style = "✓", faint
	}
	if selected {
		style, mark = reverse, cursor+mark
	}
	l.left(style, mark, 2)
	name := safe(n.Name, lay.name)
	if selected { // the bar is as wide as the column
		name += strings.Repeat(" ", max(lay.name-readable.Width(name), 0))
	}
	l.left(style, name, lay.name)
	if n.Reason != "" && lay.columns > 0 {
		l.add(plain, "  ")
		l.add(red, safe(n.Reason, s.width-l.n-ageWidth-2))
	} else {
		for i, c := range g.columns[:min(lay.columns, len(g.columns))] {
			cell := cellID{id{n.Cluster, n.Name}, c}
			l.add(plain, "  ")
			style := plain
			if n.State == dashboard.Silent {
				style = faint
			}
			l.right(style, st.text(cell, valueWidth), valueWidth)
			if i < lay.sparks {
				l.add(plain, "  ")
				l.left(accented, graph.Text(st.sparks[cell].values, sparkWidth), sparkWidth)
			}
		}
	}
	l.to(s.width - ageWidth)
	l.right(faint, shortAge(st.at.Sub(n.LastHeard)), ageWidth)
	s.put(l)
}

// text returns the value of a cell in at most width columns, "" without one.
func (st *state) text(c cellID, width int) string {
	v, ok := st.values[c]
	if !ok {
		return ""
	}
	return v.text(width)
}

// text returns a value with its unit, or without it if there is no room.
func (v *value) text(width int) string {
	if v.Type == "string" {
		var s string
		if json.Unmarshal(v.Value, &s) != nil {
			return "?"
		}
		return safe(s, width)
	}
	if v.Unit == "" && (v.Type == "int32" || v.Type == "int64") { // it may be an identifier
		return safe(string(v.Value), width)
	}
	n := v.number
	if math.IsNaN(n) {
		return "NaN"
	}
	number, unit := quantity.Format(n, v.Unit)
	text := quantity.Join(number, unit)
	for digits := quantity.Digits - 1; readable.Width(text) > width && digits > 0; digits-- {
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return readable.Cut(shortTime(text), width)
		}
		text = quantity.Join(quantity.Number(f, digits), unit)
	}
	return readable.Cut(text, width)
}

// shortTime leaves the seconds out of a time with days: 7 d 19:35, and from 10 days on the
// minutes, 12 d 19 h.
func shortTime(s string) string {
	days, hours, ok := strings.Cut(s, " d ")
	parts := strings.Split(hours, ":")
	switch {
	case !ok || len(parts) != 3:
		return s
	case len(days) == 1:
		return days + " d " + parts[0] + ":" + parts[1]
	}
	return days + " d " + parts[0] + " h"
}

// paramRow adds the line of a parameter of a node.
func (s *screen) paramRow(st *state, p *dashboard.Param, name int, selected bool) {
	l := s.line()
	mark, style := "", plain
	if selected {
		mark, style = cursor, reverse
	}
	l.left(style, mark, 2)
	l.left(style, safe(p.Name, name), name)
	l.add(plain, "  ")
	v := value{*p, number(p.Value)}
	if p.Type == "string" {
		l.left(plain, v.text(max(s.width-l.n-ageWidth-2, 1)), max(s.width-l.n-ageWidth-2, 1))
	} else {
		l.right(plain, v.text(14), 14)
		l.add(plain, "  ")
		l.left(accented, graph.Text(st.sparks[cellID{id{p.Cluster, p.Node}, p.Name}].values, sparkWidth), sparkWidth)
		if room := s.width - l.n - ageWidth - 4; p.Meaning != "" && room > 10 {
			l.add(faint, "  "+safe(p.Meaning, room))
		}
	}
	l.to(s.width - ageWidth)
	l.right(faint, shortAge(st.at.Sub(p.LastHeard)), ageWidth)
	s.put(l)
}
