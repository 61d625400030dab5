package statusz

import (
	"cmp"
	"html/template"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/xdr"
)

// table is a table of the page; the first columns are texts, the others numbers.
type table struct {
	id, title string
	texts     int
	head      []string // may be empty
	rows      []row
}

// row is a row of a table; help is shown when the reader points at its name.
type row struct {
	help  string
	cells []string
}

func (t *table) add(help string, cells ...string) { t.rows = append(t.rows, row{help, cells}) }

// wideTable is the number of columns of a table that has no other beside it.
const wideTable = 5

// write appends the table, if it has rows. (A template takes ten times as long.)
func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	b.WriteString("<section")
	if len(t.head) >= wideTable {
		b.WriteString(` class="wide"`)
	}
	b.WriteString(` id="` + t.id + `"><h2>` + t.title + `</h2>
<div class="scroll"><table>`)
	cell := func(tag string, i int, help, text string) {
		b.WriteString("<" + tag)
		if i < t.texts {
			b.WriteString(` dir="auto"`)
		} else {
			b.WriteString(` class="n"`)
		}
		if help != "" {
			b.WriteString(` title="` + template.HTMLEscapeString(help) + `"`)
		}
		b.WriteString(">")
		b.WriteString(template.HTMLEscapeString(text))
		b.WriteString("</" + tag[:2] + ">")
	}
	if len(t.head) > 0 {
		b.WriteString("<thead><tr>")
		for i, text := range t.head {
			cell(`th scope="col"`, i, "", text)
		}
		b.WriteString("</tr></thead>")
	}
	b.WriteString("<tbody>\n")
	for _, r := range t.rows {
		b.WriteString("<tr>")
		for i, text := range r.cells {
			if i == 0 {
				cell(`th scope="row"`, i, r.help, text)
			} else {
				cell("td", i, "", text)
			}
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table></div></section>\n")
}

// columns are the tables of the kinds of metrics: their columns are suffixes of parameters.
var columns = []struct {
	kind     metrics.Kind
	title    string
	suffixes []string
}{
	{metrics.KindCounter, "Counters", []string{"", "_R"}},
	{metrics.KindSum, "Sums", []string{"", "_R"}},
	{metrics.KindGauge, "Gauges", []string{"", "_min", "_max"}},
	{metrics.KindCache, "Caches", []string{"_abs_hits", "_abs_misses", "_hit_percent"}},
	{metrics.KindFunc, "Functions", []string{""}},
	{metrics.KindMeasure, "Measures", []string{"_cnt_R", "_avg", "_p50", "_p90", "_p99", "_max"}},
}

// heads are the heads of columns.
var heads = map[string]string{"": "value", "_R": "rate", "_min": "least", "_max": "most", "_cnt_R": "rate", "_avg": "mean",
	"_p50": "p50", "_p90": "p90", "_p99": "p99", "_abs_hits": "hits", "_abs_misses": "misses", "_hit_percent": "hits now"}

// metrics adds a table for each kind of metric.
func (v *view) metrics(values []metrics.Value) {
	for _, c := range columns {
		t := table{id: strings.ToLower(c.title), title: c.title, texts: 1, head: []string{"name"}}
		for _, s := range c.suffixes {
			t.head = append(t.head, heads[s])
		}
		name := ""
		for i := range values {
			m := &values[i]
			if m.Kind != c.kind {
				continue
			}
			if m.Metric != name || t.rows == nil {
				name = m.Metric
				t.add(m.Help, append([]string{name}, make([]string, len(c.suffixes))...)...)
			}
			for j, s := range c.suffixes {
				if m.Suffix != s {
					continue
				}
				text := ""
				if m.Type() == xdr.TypeString {
					text = m.Text()
				} else {
					text = quantity.String(m.Float(), m.Unit)
				}
				t.rows[len(t.rows)-1].cells[j+1] = text
			}
		}
		v.tables = append(v.tables, t)
	}
}

// client adds the table of the destinations of the reports, and what fails.
func (v *view) client(s apmon.Stats) {
	t := table{id: "destinations", title: "Reports to", texts: 1, head: []string{"destination", "datagrams", "bytes", "not sent", "refused"}}
	for _, d := range s.Destinations {
		row := []string{d.Name, strconv.FormatUint(d.Sent, 10), quantity.String(float64(d.Bytes), "bytes")}
		for _, n := range []uint64{d.Unsent, d.Refused} {
			row = append(row, strconv.FormatUint(n, 10))
		}
		help := ""
		if d.LastError != "" {
			help = "last error: " + d.LastError
		}
		t.add(help, row...)
		if !d.Addr.IsValid() {
			v.problem(d.Name, cmp.Or(d.LastError, "no address yet"))
		}
	}
	for _, r := range s.Reports {
		if r.LastError != "" {
			v.problem("report "+r.Name, r.LastError)
		}
	}
	v.tables = append(v.tables, t)
}
