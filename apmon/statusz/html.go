package statusz

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
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
)

//go:embed page.html
var pageText string

var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageText)) })

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

// view is what the page shows.
type view struct {
	KPIs     []kpi
	Problems []problem
	Graphs   []template.HTML
	Tables   template.HTML

	tables []table
}

// kpi is a number at the top. Title has all its digits.
type kpi struct {
	Label, Link, Value, Unit, Title string
	Bad                             bool
}

// number adds a number at the top.
func (v *view) number(label, link string, n float64, unit string) *kpi {
	text, shown := quantity.Format(n, unit)
	v.KPIs = append(v.KPIs, kpi{Label: label, Link: link, Value: text, Unit: shown, Title: quantity.ExactUnit(n, unit)})
	return &v.KPIs[len(v.KPIs)-1]
}

// problem is something that needs attention.
type problem struct{ Subject, Detail string }

func (v *view) problem(subject, detail string) {
	v.Problems = append(v.Problems, problem{subject, detail})
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
	host, _ := os.Hostname() // empty if it has none
	h.site = page.New(page.Options{Program: filepath.Base(os.Args[0]), Host: host, Single: true})
	h.live = h.site.Live(func(*http.Request) page.Page { return page.Page{Title: "Status", Main: p.render()} })
}

// serveHTML answers with the page or, with the parameter "file", with a file that it needs.
func (p *Page) serveHTML(w http.ResponseWriter, r *http.Request) {
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
	v := &view{}
	if p.opt.HTTP != nil {
		h.requests(v, p.opt.HTTP, time.Now())
	}
	process := v.process(metrics.ReadProcess())
	values, err := h.metrics.Read()
	if err != nil {
		for text := range strings.SplitSeq(err.Error(), "\n") {
			v.problem("metrics", strings.TrimPrefix(text, "metrics: "))
		}
	}
	v.metrics(values)
	v.tables = append(v.tables, process)
	if p.opt.Client != nil {
		v.client(p.opt.Client.Stats())
	}
	var all strings.Builder
	for i := range v.tables {
		v.tables[i].write(&all)
	}
	v.Tables = template.HTML(all.String())
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, v); err != nil {
		panic(err) // impossible: the template calls no methods, and a buffer takes everything
	}
	return template.HTML(b.String())
}

// process adds the numbers of the process, and returns its table.
func (v *view) process(p metrics.Process) table {
	const link = "#process"
	if p.RSS.OK {
		v.number("memory", link, p.RSS.V, "bytes")
	}
	if p.Uptime.OK {
		up := v.number("up", link, p.Uptime.V, "s")
		up.Value, up.Unit = quantity.Age(time.Duration(p.Uptime.V*float64(time.Second))), ""
	}
	t := table{id: "process", title: "Process", texts: 1}
	for _, row := range []struct {
		name, unit string
		value      procinfo.Value
	}{{"resident memory", "bytes", p.RSS}, {"virtual memory", "bytes", p.VSZ}, {"heap", "bytes", p.Heap}, {"CPU time in user mode", "s", p.UserTime},
		{"CPU time in the kernel", "s", p.SystemTime}, {"threads", "", p.Threads}, {"goroutines", "", p.Goroutines}, {"open files", "", p.OpenFiles}} {
		if row.value.OK {
			t.add("", row.name, quantity.String(row.value.V, row.unit))
		}
	}
	return t
}

// wantsHTML reports whether a request prefers HTML to JSON, as browsers do. Of equal weights the
// first counts.
func wantsHTML(r *http.Request) (html bool) {
	most := 0.0
	for kind, q := range page.Accepted(r.Header["Accept"]) {
		if q > most && (kind == "text/html" || kind == "application/json") {
			most, html = q, kind == "text/html"
		}
	}
	return html
}
