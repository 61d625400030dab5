package dashboard

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
)

//go:embed templates
var templateFiles embed.FS

var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"shown": shown, "title": title, "ref": Ref, "join": quantity.Join,
		"clusterLink": clusterLink, "nodeLink": nodeLink, "plural": func(n int, of string) string { return plural(float64(n), of) },
		"percent": percent,
	}).ParseFS(templateFiles, "templates/*.html"))
})

// execute returns the main part of a page.
func execute(name string, data any) template.HTML {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		panic(err) // a mistake in a template, which the tests of each page find
	}
	return template.HTML(b.String())
}

// quant is a number that is shown with four digits. Exact has all of them.
type quant struct{ Text, Unit, Exact string }

func quantOf(v float64, unit string) quant {
	text, u := quantity.Format(v, unit)
	return quant{text, u, quantity.ExactUnit(v, unit)}
}

// when is a time that is shown as an age.
type when struct {
	Age, Exact, Machine string
}

func whenOf(t, now time.Time) when {
	if t.IsZero() {
		return when{Age: "–"}
	}
	return when{quantity.Age(now.Sub(t)), t.Local().Format("2006-01-02 15:04:05 MST"), t.UTC().Format(time.RFC3339)}
}

// choice is a link that may be the current one.
type choice struct {
	Text, Link string
	Current    bool
	Count      int // shown if not negative
}

// pages are the links at the end of a list that does not show all.
type pages struct {
	First, Last, Total int // of the entries shown, from 1
	Previous, Next     string
}

// pageSize is the number of entries of a list on one page.
const pageSize = 100

// pagesOf returns the links of a list of so many entries. The address of the page with
// another offset comes from at.
func pagesOf(offset, shown, total int, at func(offset string) string) pages {
	p := pages{First: offset + 1, Last: offset + shown, Total: total}
	if offset > 0 {
		p.Previous = at(offsetText(max(offset-pageSize, 0)))
	}
	if offset+shown < total {
		p.Next = at(offsetText(offset + shown))
	}
	return p
}

func offsetText(n int) string {
	if n == 0 {
		return ""
	}
	return quantity.Exact(float64(n))
}

// live returns a handler of a page. An error becomes a page that says so.
func (d *Dashboard) live(render func(v *view, q *query) (page.Page, error)) http.Handler {
	return d.site.Live(func(r *http.Request) page.Page {
		v := d.c.view()
		p, err := render(v, newQuery(r, v.at))
		if err != nil {
			return errorPage(err)
		}
		return p
	})
}

func errorPage(err error) page.Page {
	status, e := apiError(err)
	if e.Parameter != "" {
		e.Error = e.Parameter + ": " + e.Error
	}
	data := struct{ Title, Text string }{http.StatusText(status), e.Error}
	return page.Page{Title: data.Title, Status: status, Main: execute("error.html", data)}
}

// problemRow is a problem as a line of the overview.
type problemRow struct {
	Problem
	Link, Rest string
	When       when
}

func (v *view) problemRows() []problemRow {
	rows := make([]problemRow, 0, len(v.overview.Problems))
	for _, p := range v.overview.Problems {
		rows = append(rows, problemRow{p, p.link(), strings.TrimPrefix(p.Text, p.Subject), whenOf(p.Since, v.at)})
	}
	return rows
}

// nodeRow is a node as a line of a table.
type nodeRow struct {
	Node
	Link    string
	When    when
	Lead    quant
	Spark   template.HTML
	Columns []column
}

// column is a value in a table.
type column struct {
	quant
	Bar template.HTML // of a percentage
}

// nodeTable is a table of nodes with some of their parameters.
type nodeTable struct {
	WithCluster bool
	Lead        string
	Columns     []string
	Rows        []nodeRow
}

// table reads the values of nodes.
func (d *Dashboard) table(v *view, nodes []Node, lead string, columns []string) nodeTable {
	t := nodeTable{Lead: lead, Columns: columns}
	last := tracker{windows: d.c.source.Windows}
	unit, _ := d.units(lead)
	units := make([]string, len(columns))
	for i, c := range columns {
		units[i], _ = d.units(c)
	}
	from := v.at.Add(-time.Hour)
	var points []history.Point
	for i := range nodes {
		n := &nodes[i]
		row := nodeRow{Node: *n, Link: nodeLink(n.Cluster, n.Name), When: whenOf(n.LastHeard, v.at)}
		if lead != "" {
			points, _ = d.c.source.Windows.Points(points[:0], n.Cluster, n.Name, lead, from, v.at.Add(viewEvery))
			if len(points) > 0 && finite(&points[len(points)-1].Value) {
				row.Lead = quantOf(points[len(points)-1].Value.Float(), unit)
				row.Spark = spark(points, graph.Sparkline{})
			}
		}
		for k, c := range columns {
			p, _, ok := last.last(v.at, nodeKey{n.Cluster, n.Name}, c)
			if !ok || !finite(&p) {
				row.Columns = append(row.Columns, column{})
				continue
			}
			col := column{quant: quantOf(p.Float(), units[k])}
			if units[k] == "%" {
				col.Bar = graph.Bar(p.Float()/100, quantity.Join(col.Text, col.Unit))
				col.Text = quantity.Number(p.Float(), 2) // beside a bar
			}
			row.Columns = append(row.Columns, col)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
