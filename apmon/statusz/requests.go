package statusz

import (
	"cmp"
	"html/template"
	"slices"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/quantity"
)

const (
	// graphed is the time that the graphs show, and leastGraphed that of a page that was
	// just opened.
	graphed      = 10 * time.Minute
	leastGraphed = time.Minute
	// maxPoints is the number of points of a line that are kept: with an open page, graphed.
	maxPoints = 600
	// gap is the time without a point that interrupts a line: the page was closed.
	gap = 10 * time.Second
	// maxRows is the number of routes and of requests in progress that are shown.
	maxRows = 100
)

// requests adds the numbers, graphs and tables of a server.
func (h *html) requests(v *view, stats *httpstats.Stats, now time.Time) {
	s := stats.Snapshot()
	values := map[string]float64{}
	for _, v := range h.http.Read() {
		values[v.Name] = v.Value
	}
	rates := h.point(s, values, now)
	clients := map[string]bool{}
	for _, r := range s.Active {
		clients[r.Client] = true
	}
	v.number("requests", "#requests", values["mean_request_rate"], "1/s")
	for _, l := range h.latency {
		if n, ok := values["duration_"+l.Label]; ok {
			v.number(l.Label, "#times", n, "ms")
		}
	}
	v.number("5xx", "#routes", rates[3], "1/s").Bad = rates[3] > 0
	v.number("in progress", "#active", float64(s.InProgress), "")
	v.number("clients now", "#active", float64(len(clients)), "")
	v.number("sent", "#requests", values["mean_bitrate"], "bit/s")
	v.Graphs = h.graphs(now)

	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	rate := func(n float64) string { return quantity.String(n, "1/s") }
	counts := table{id: "requests", title: "Requests", texts: 1, head: []string{"requests", "since the start", "now"}}
	counts.add("Requests begun", "all", count(s.Requests), rate(values["mean_request_rate"]))
	for i, n := range s.Classes[2:] {
		counts.add("Requests that ended with such a status", h.classes[i].Label, count(n), rate(rates[i]))
	}
	counts.add("Requests begun from this machine", "local", count(s.Localhost), "")
	counts.add("Requests begun from private networks and this machine", "private", count(s.Private), "")
	counts.add("Requests in progress; most at once since the start", "at once", strconv.FormatInt(s.Peak, 10), strconv.FormatInt(s.InProgress, 10))
	counts.add("Bytes of bodies", "sent", quantity.String(float64(s.Bytes), "bytes"), quantity.String(values["mean_bitrate"], "bit/s"))

	routes := table{id: "routes", title: "Routes", texts: 3, head: []string{"route", "method", "status", "requests"}}
	slices.SortStableFunc(s.Routes, func(a, b httpstats.Route) int { return cmp.Compare(b.Count, a.Count) })
	for _, r := range s.Routes[:min(maxRows, len(s.Routes))] {
		routes.add("", cmp.Or(r.Pattern, "(none)"), r.Method, strconv.Itoa(r.Status), count(r.Count))
	}
	active := table{id: "active", title: "In progress", texts: 4, head: []string{"id", "client", "method", "path", "age", "sent"}}
	for _, r := range s.Active[:min(maxRows, len(s.Active))] {
		active.add("", count(r.ID), r.Client, r.Method, r.Path, quantity.Age(now.Sub(r.Began)), quantity.String(float64(r.Bytes), "bytes"))
	}
	v.tables = append(v.tables, counts, routes, active)
}

// point adds the period that ends now to the graphs, and returns the rates of the classes.
func (h *html) point(s httpstats.Snapshot, values map[string]float64, now time.Time) (rates [4]float64) {
	add := func(to *graph.Series, v float64) {
		to.Points = append(to.Points[max(0, len(to.Points)-maxPoints+1):], graph.Point{Time: now, Value: v})
	}
	if period := (s.Uptime - h.last.Uptime).Seconds(); period > 0 {
		for i := range h.classes {
			rates[i] = float64(s.Classes[i+2]-h.last.Classes[i+2]) / period
			add(&h.classes[i], rates[i])
		}
	}
	for i := range h.latency {
		if v, ok := values["duration_"+h.latency[i].Label]; ok {
			add(&h.latency[i], v)
		}
	}
	h.last = s
	return rates
}

// graphs draws the last ten minutes, or the time since the page was first opened.
func (h *html) graphs(now time.Time) []template.HTML {
	o := graph.Options{From: now.Add(-leastGraphed), To: now, Gap: gap, Width: 430, Height: 180, Fixed: true}
	if points := h.classes[0].Points; len(points) > 0 && points[0].Time.Before(o.From) {
		o.From = points[0].Time
	}
	if least := now.Add(-graphed); o.From.Before(least) {
		o.From = least
	}
	rates, latency := o, o
	rates.Title, rates.Unit = "Responses by class", "1/s"
	latency.Title, latency.Unit = "Time of requests", "ms"
	return []template.HTML{graph.Line(rates, h.classes[:]...), graph.Line(latency, h.latency[:]...)}
}
