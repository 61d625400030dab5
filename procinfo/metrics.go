package procinfo

import "strings"

// Metrics returns all parameters of this package, in the order in which they are sent.
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
