package statusz

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

//go:embed page.html
var pageText string

var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageText)) })

// maxPoints is the number of points of a line that are kept: with an open page, ten minutes.
const maxPoints = 600

// contentPolicy permits what the page consists of.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// html is the page for people.
type html struct {
	site    *page.Site
	live    http.Handler
	metrics *metrics.Reader
	http    *httpstats.Reader // nil without a server

	mu      sync.Mutex // held while the page is rendered
	last    httpstats.Snapshot
	classes [4]graph.Series // responses per second, of 2xx to 5xx
	latency [3]graph.Series // p50, p90, p99
}

// kpi is a number at the top.
type kpi struct{ Label, Value, Unit string }

// table is a table of the page; the first columns are texts, the others numbers.
type table struct {
	title string
	texts int
	head  []string
	rows  [][]string
}

// write appends the table, if it has rows. (A template takes ten times as long.)
func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	b.WriteString("<h2>" + t.title + `</h2>
<div class="scroll"><table><thead><tr>`)
	cell := func(tag string, i int, text string) {
		if i < t.texts {
			b.WriteString("<" + tag + ` dir="auto">`)
		} else {
			b.WriteString("<" + tag + ` class="n">`)
		}
		b.WriteString(template.HTMLEscapeString(text))
		b.WriteString("</" + tag[:2] + ">")
	}
	for i, text := range t.head {
		cell(`th scope="col"`, i, text)
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, row := range t.rows {
		b.WriteString("<tr>")
		for i, text := range row {
			if i == 0 {
				cell(`th scope="row"`, i, text)
			} else {
				cell("td", i, text)
			}
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table></div>\n")
}

func (p *Page) newHTML() {
	h := &p.html
	h.metrics = p.reg.NewReader()
	for i := range h.classes {
		h.classes[i].Label = strconv.Itoa(i+2) + "xx"
	}
	for i, name := range []string{"p50", "p90", "p99"} {
		h.latency[i].Label = name
	}
	if p.opt.HTTP != nil {
		h.http = p.opt.HTTP.NewReader()
	}
	h.site = page.New(page.Options{Program: "Status", Single: true})
	h.live = h.site.Live(func(*http.Request) page.Page { return page.Page{Title: "Status", Main: p.render()} })
}

// serveHTML answers with the page or, with the parameter "file", with a file that it needs.
func (p *Page) serveHTML(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	if file := r.URL.Query().Get("file"); file != "" {
		p.html.site.Static(w, r, file)
		return
	}
	same := *r
	address := *r.URL
	address.RawQuery = "" // the page does not depend on it
	same.URL = &address
	p.html.live.ServeHTTP(w, &same)
}

// render renders the page and begins a new period.
func (p *Page) render() template.HTML {
	h := &p.html
	h.mu.Lock()
	defer h.mu.Unlock()
	var view struct {
		KPIs   []kpi
		Error  string
		Graphs []template.HTML
		Tables template.HTML
	}
	var tables []table
	add := func(label string, v float64, unit string) {
		text, shown := quantity.Format(v, unit)
		view.KPIs = append(view.KPIs, kpi{label, text, shown})
	}
	now := time.Now()
	if p.opt.HTTP != nil {
		view.Graphs, tables = h.requests(p.opt.HTTP, now, add)
	}
	process := metrics.ReadProcess()
	for _, v := range []struct {
		label string
		value procinfo.Value
		unit  string
	}{{"memory", process.RSS, "bytes"}, {"goroutines", process.Goroutines, ""}, {"up", process.Uptime, "s"}} {
		if v.value.OK {
			add(v.label, v.value.V, v.unit)
		}
	}
	values, err := h.metrics.Read()
	if err != nil {
		view.Error = err.Error()
	}
	tables = append(append(tables, metricTables(values)...), processTable(process))
	if p.opt.Client != nil {
		tables = append(tables, senderTable(p))
	}
	var all strings.Builder
	for i := range tables {
		tables[i].write(&all)
	}
	view.Tables = template.HTML(all.String())
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, &view); err != nil {
		panic(err) // impossible: the template calls no methods, and a buffer takes everything
	}
	return template.HTML(b.String())
}

// requests returns the graphs and tables of a server, and adds its numbers.
func (h *html) requests(stats *httpstats.Stats, now time.Time, add func(label string, v float64, unit string)) ([]template.HTML, []table) {
	s := stats.Snapshot()
	params, _ := h.http.Collect(nil, nil) // its error is nil
	values := map[string]float64{}
	for i, m := range stats.Known(params) {
		values[m.Name] = params[i].Float()
	}
	h.point(s, values, now)
	clients := map[string]bool{}
	for _, r := range s.Active {
		clients[r.Client] = true
	}
	add("requests", values["mean_request_rate"], "1/s")
	if _, ok := values["duration_p50"]; ok {
		for _, name := range []string{"p50", "p90", "p99"} {
			add(name, values["duration_"+name], "ms")
		}
	}
	add("in progress", float64(s.InProgress), "")
	add("clients now", float64(len(clients)), "")
	add("sent", values["mean_bitrate"], "bit/s")
	o := graph.Options{From: now.Add(-10 * time.Minute), To: now, Height: 180}
	rates, latency := o, o
	rates.Title, rates.Unit = "Responses by class", "1/s"
	latency.Title, latency.Unit = "Time of requests", "ms"
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	counts := table{"Requests", 1, []string{"requests", "count"}, [][]string{
		{"begun", count(s.Requests)}, {"2xx", count(s.Classes[2])}, {"3xx", count(s.Classes[3])}, {"4xx", count(s.Classes[4])}, {"5xx", count(s.Classes[5])},
		{"local", count(s.Localhost)}, {"private", count(s.Private)}, {"most at once", strconv.FormatInt(s.Peak, 10)}, {"bytes sent", quantity.String(float64(s.Bytes), "bytes")},
	}}
	const most = 100 // rows
	routes := table{"Routes", 3, []string{"route", "method", "status", "requests"}, nil}
	for _, r := range s.Routes[:min(most, len(s.Routes))] {
		routes.rows = append(routes.rows, []string{r.Pattern, r.Method, strconv.Itoa(r.Status), count(r.Count)})
	}
	active := table{"In progress", 4, []string{"id", "client", "method", "path", "age", "sent"}, nil}
	for _, r := range s.Active[:min(most, len(s.Active))] {
		active.rows = append(active.rows, []string{count(r.ID), r.Client, r.Method, r.Path, quantity.Age(now.Sub(r.Began)), quantity.String(float64(r.Bytes), "bytes")})
	}
	return []template.HTML{graph.Line(rates, h.classes[:]...), graph.Line(latency, h.latency[:]...)}, []table{counts, active, routes}
}

// point adds the period that ends now to the graphs.
func (h *html) point(s httpstats.Snapshot, values map[string]float64, now time.Time) {
	add := func(to *graph.Series, v float64) {
		to.Points = append(to.Points[max(0, len(to.Points)-maxPoints+1):], graph.Point{Time: now, Value: v})
	}
	if period := (s.Uptime - h.last.Uptime).Seconds(); period > 0 {
		for i := range h.classes {
			add(&h.classes[i], float64(s.Classes[i+2]-h.last.Classes[i+2])/period)
		}
	}
	for i := range h.latency {
		if v, ok := values["duration_"+h.latency[i].Label]; ok {
			add(&h.latency[i], v)
		}
	}
	h.last = s
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
	{metrics.KindMeasure, "Measures", []string{"_cnt_R", "_avg", "_p50", "_p90", "_p99", "_max"}},
	{metrics.KindCache, "Caches", []string{"_abs_hits", "_abs_misses", "_hit_percent"}},
	{metrics.KindFunc, "Functions", []string{""}},
}

// heads are the heads of columns.
var heads = map[string]string{"": "value", "_R": "per second", "_min": "least", "_max": "most", "_cnt_R": "per second", "_avg": "mean",
	"_p50": "p50", "_p90": "p90", "_p99": "p99", "_abs_hits": "hits", "_abs_misses": "misses", "_hit_percent": "hits %"}

// metricTables returns a table for each kind of metric.
func metricTables(values []metrics.Value) (tables []table) {
	for _, c := range columns {
		t := table{title: c.title, texts: 1, head: []string{"name"}}
		for _, s := range c.suffixes {
			t.head = append(t.head, heads[s])
		}
		name := ""
		for i := range values {
			v := &values[i]
			if v.Kind != c.kind {
				continue
			}
			if v.Metric != name || t.rows == nil {
				name = v.Metric
				t.rows = append(t.rows, append([]string{name}, make([]string, len(c.suffixes))...))
			}
			for j, s := range c.suffixes {
				if v.Suffix != s {
					continue
				}
				text := ""
				if v.Type() == xdr.TypeString {
					text = v.Text()
				} else {
					text, _ = quantity.Format(v.Float(), "")
				}
				t.rows[len(t.rows)-1][j+1] = text
			}
		}
		tables = append(tables, t)
	}
	return tables
}

func processTable(p metrics.Process) table {
	t := table{"Process", 1, []string{"value", ""}, nil}
	for _, v := range []struct {
		name, unit string
		value      procinfo.Value
	}{{"resident memory", "bytes", p.RSS}, {"virtual memory", "bytes", p.VSZ}, {"heap", "bytes", p.Heap}, {"CPU time in user mode", "s", p.UserTime},
		{"CPU time in the kernel", "s", p.SystemTime}, {"threads", "", p.Threads}, {"goroutines", "", p.Goroutines}, {"open files", "", p.OpenFiles}} {
		if v.value.OK {
			t.rows = append(t.rows, []string{v.name, quantity.String(v.value.V, v.unit)})
		}
	}
	return t
}

func senderTable(p *Page) table {
	t := table{"Reports", 1, []string{"destination", "datagrams sent", "bytes", "not sent", "refused"}, nil}
	for _, d := range p.opt.Client.Stats().Destinations {
		row := []string{d.Name}
		for _, n := range []uint64{d.Sent, d.Bytes, d.Unsent, d.Refused} {
			row = append(row, strconv.FormatUint(n, 10))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// wantsHTML reports whether a request prefers HTML to JSON, as browsers do.
func wantsHTML(r *http.Request) bool {
	for _, line := range r.Header["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			kind, weight, _ := strings.Cut(part, ";")
			switch strings.TrimSpace(kind) {
			case "text/html":
				q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
				return err != nil || q > 0
			case "application/json":
				return false
			}
		}
	}
	return false
}
