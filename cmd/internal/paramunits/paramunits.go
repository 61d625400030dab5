// Package paramunits knows the units of the parameters that this module sends.
package paramunits

import (
	"strings"
	"sync"

	"github.com/apmon-go/apmon/apmon/accesslog"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/procinfo"
)

// entry describes a parameter.
type entry struct{ unit, meaning string }

// suffix describes the parameters whose names end so.
type suffix struct {
	text string
	entry
}

// tables are all parameters by name, and those of which only the end of the name is known.
type tables struct {
	names      map[string]entry
	interfaces []suffix // after the name of a network interface
	metrics    []suffix // after a name that a program chose
}

var all = sync.OnceValue(func() *tables {
	t := &tables{names: map[string]entry{}}
	add := func(name string, e entry) {
		if _, ok := t.names[name]; !ok {
			t.names[name] = e
		}
	}
	for _, m := range procinfo.Metrics() {
		e := entry{m.Unit, strings.TrimSpace(m.Meaning)}
		if rest, ok := strings.CutPrefix(m.Name, "IF_"); ok {
			t.interfaces = append(t.interfaces, suffix{"_" + rest, e})
			continue
		}
		add(m.Name, e)
		for _, a := range m.Aliases {
			add(a.Name, e)
		}
	}
	for _, m := range httpstats.Metrics() {
		add(httpstats.DefaultPrefix+m.Name, entry{m.Unit, m.Meaning})
	}
	for _, m := range accesslog.Metrics() {
		add(m.Name, entry{m.Unit, m.Meaning})
	}
	t.addMetrics(add)
	return t
})

// addMetrics adds the parameters of package metrics, from the tables of its documentation.
func (t *tables) addMetrics(add func(name string, e entry)) {
	var kind string
	var measure []suffix // of the kind of that name
	for line := range strings.Lines(metrics.Markdown()) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			kind = strings.TrimSpace(heading)
		}
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "sent as" {
			continue
		}
		first, more, _ := strings.Cut(strings.TrimSpace(cells[1]), ", ")
		e := entry{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
		end, chosen := strings.CutPrefix(first, "NAME")
		switch {
		case chosen:
			if e.unit != "" && end != "" {
				t.metrics = append(t.metrics, suffix{end, e})
			}
			if kind == "measure" {
				measure = append(measure, suffix{end, e})
			}
		case strings.HasSuffix(more, "…"): // a measure with a unit
			for _, s := range measure {
				add(strings.TrimSuffix(first, "_sum")+s.text, s.of(e))
			}
		default:
			add(first, e)
			for end := range strings.SplitSeq(more, ", ") {
				add(first+end, e)
			}
		}
	}
}

// of returns the entry of a parameter of a measure that is described by e.
func (s suffix) of(e entry) entry {
	switch {
	case s.unit == "":
		s.unit = e.unit
	case s.text == "_R":
		s.unit = e.unit + "/s"
	}
	return entry{s.unit, e.meaning + ": " + s.meaning}
}

// Unit returns the unit and the meaning of a parameter. They are empty if the parameter is none
// of ours; the unit is also empty for pure numbers and for text.
func Unit(param string) (unit, meaning string) {
	t := all()
	e, ok := t.names[param]
	if !ok && strings.HasPrefix(param, "top_") { // N stands for the rank
		digits := strings.Trim(param, "abcdefghijklmnopqrstuvwxyz_")
		e, ok = t.names[strings.Replace(param, digits, "N", 1)]
	}
	if ok {
		return e.unit, e.meaning
	}
	for _, s := range t.interfaces {
		if name, ok := strings.CutSuffix(param, s.text); ok && isInterface(name) {
			return s.unit, s.meaning
		}
	}
	// The longest suffix counts: _cnt_R, not _R.
	var best suffix
	for _, s := range t.metrics {
		if len(s.text) > len(best.text) && len(param) > len(s.text) && strings.HasSuffix(param, s.text) {
			best = s
		}
	}
	return best.unit, best.meaning
}

// isInterface reports whether a name is probably that of a network interface: it has a digit,
// unlike the first part of names such as logged_in, and is as short as Linux requires.
func isInterface(name string) bool {
	const most = 15
	return len(name) <= most && strings.ContainsAny(name, "0123456789") && !strings.ContainsAny(name, " /_")
}
