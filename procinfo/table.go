package procinfo

import (
	"strings"

	"github.com/apmon-go/apmon/xdr"
)

// Metric describes one parameter, or a family of them (one for each interface).
type Metric struct {
	Category string // "system", "general", "self", "job"
	Option   string // the option behind "xApMon_" that switches it, such as "sys_load1"
	Name     string // the name it is sent under; IF stands for an interface
	Unit     string // empty for pure numbers
	Text     bool   // a text, not a number
	Meaning  string
	Source   string // on Linux
	OptIn    bool   // off unless the option says on
	Aliases  []Alias
}

// Alias is another spelling of an option.
type Alias struct {
	Option string
	Name   string // the name the parameter is then sent under
}

// Choice says whether an option (such as "sys_net_in") is on, and how it was
// spelled, with or without "sys_"; empty is the canonical spelling. A nil Choice is
// everything that is not opt-in.
type Choice func(option string) (on bool, spelled string)

// row is a line of a category's table: one of num, text and each is set.
type row[T any] struct {
	Metric
	reads reading // of the host
	num   func(*T) Value
	text  func(*T) string
	each  func(*T, []xdr.Param) []xdr.Param
}

// appendRows appends what is known of v and chosen.
func appendRows[T any](rows []row[T], v *T, params []xdr.Param, choose Choice) []xdr.Param {
	for i := range rows {
		r := &rows[i]
		on, name := !r.OptIn, r.Name
		if choose != nil {
			var spelled string
			if on, spelled = choose(r.Option); on && spelled != "" && len(r.Aliases) > 0 {
				name = r.name(spelled)
			}
		}
		if !on {
			continue
		}
		switch {
		case r.num != nil:
			if n := r.num(v); n.OK {
				params = append(params, xdr.Float(name, n.V))
			}
		case r.text != nil:
			if s := r.text(v); s != "" {
				params = append(params, xdr.String(name, s))
			}
		default:
			params = r.each(v, params)
		}
	}
	return params
}

// name returns the name the parameter is sent under when its option was
// spelled so.
func (m *Metric) name(spelled string) string {
	spelled = strings.TrimPrefix(spelled, "sys_")
	for _, a := range m.Aliases {
		if strings.TrimPrefix(a.Option, "sys_") == spelled {
			return a.Name
		}
	}
	return m.Name
}

// Metrics returns all parameters this package knows, in the order in which they
// are sent.
func Metrics() []Metric {
	var all []Metric
	all = appendMetrics(all, systemRows())
	all = appendMetrics(all, generalRows())
	all = appendMetrics(all, selfRows())
	return appendMetrics(all, jobRows())
}

func appendMetrics[T any](all []Metric, rows []row[T]) []Metric {
	for i := range rows {
		all = append(all, rows[i].Metric)
	}
	return all
}

// Markdown returns the parameters as tables for the documentation.
func Markdown() string {
	var b strings.Builder
	category := ""
	for _, m := range Metrics() {
		if m.Category != category {
			if category != "" {
				b.WriteByte('\n')
			}
			category = m.Category
			b.WriteString("## " + strings.ToUpper(category[:1]) + category[1:] + "\n\n" +
				"| option | sent as | unit | meaning | source on Linux |\n|---|---|---|---|---|\n")
		}
		name, unit, option := m.Name, m.Unit, "xApMon_"+m.Option
		for _, a := range m.Aliases {
			option += ", xApMon_" + a.Option
			if !strings.Contains(name, a.Name) {
				name += ", " + a.Name
			}
		}
		if m.Text {
			unit = "text"
		}
		if m.OptIn {
			option += " (opt-in)"
		}
		for i, cell := range []string{option, name, unit, m.Meaning, m.Source} {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}
