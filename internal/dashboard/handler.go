package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/safetext"
)

const (
	// defaultLimit and maxLimit are those of the entries of a JSON list.
	defaultLimit = 10_000
	maxLimit     = 100_000
	// maxNodes is the most nodes whose series are shown over one another.
	maxNodes = 16
	// maxValues is the most values in an answer with series.
	maxValues = 500_000
	// maxPattern is the longest pattern in bytes. The time that a search takes grows with it.
	maxPattern = 256
)

// query reads the parameters of a request, and keeps the first error.
type query struct {
	values url.Values
	now    time.Time
	known  []string
	err    *badParam
}

// badParam is the error for a parameter of a request.
type badParam struct{ name, text string }

func (e *badParam) Error() string { return e.name + ": " + e.text }

func newQuery(r *http.Request, now time.Time) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values, now: now}
	if err != nil {
		q.fail("query", err.Error())
	}
	return q
}

func (q *query) fail(name, text string) {
	if q.err == nil {
		q.err = &badParam{name, text}
	}
}

// all returns the values of a parameter, not more than most.
func (q *query) all(name string, most int) []string {
	q.known = append(q.known, name)
	v := q.values[name]
	if len(v) > most {
		q.fail(name, fmt.Sprintf("given %d times, more than %d", len(v), most))
		v = v[:most]
	}
	return v
}

// text returns a parameter that may be left out.
func (q *query) text(name string) string {
	if v := q.all(name, 1); len(v) > 0 {
		return v[0]
	}
	return ""
}

// need returns a parameter that may not be left out.
func (q *query) need(name string) string {
	v := q.text(name)
	if v == "" {
		q.fail(name, "it is missing")
	}
	return v
}

// pattern returns a parameter that is a pattern of names.
func (q *query) pattern(name string) string {
	v := q.text(name)
	if len(v) > maxPattern {
		q.fail(name, fmt.Sprintf("longer than %d bytes", maxPattern))
	}
	if !plain(v) {
		q.fail(name, "it has control characters: use ? for them")
	}
	return v
}

// number returns a parameter that is a whole number.
func (q *query) number(name string, or, least, most int) int {
	v := q.text(name)
	if v == "" {
		return or
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		q.fail(name, fmt.Sprintf("%s is not a number from %d to %d", safetext.Quote(v), least, most))
		return or
	}
	return n
}

// choice returns a parameter that is one of some words, or "".
func (q *query) choice(name string, of ...string) string {
	v := q.text(name)
	if v != "" && !slices.Contains(of, v) {
		q.fail(name, fmt.Sprintf("%s is not one of %q", safetext.Quote(v), of))
		return ""
	}
	return v
}

// localTime is the form of a time that browsers send, without a time zone: it is the one of this
// host, as in all times on the pages. The seconds may be missing.
const localTime = "2006-01-02T15:04:05"

// time returns a parameter that is a time: Unix seconds, seconds before now if negative, as
// RFC 3339 has it, or as localTime. It is zero if the parameter is left out.
func (q *query) time(name string) time.Time {
	v := q.text(name)
	if v == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t
	}
	for _, form := range []string{localTime, localTime[:len("2006-01-02T15:04")]} {
		if t, err := time.ParseInLocation(form, v, time.Local); err == nil {
			return t
		}
	}
	const latest = 1e11 // s, so that the time in ms is far from the limits of int64
	s, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(s) || math.Abs(s) > latest {
		q.fail(name, safetext.Quote(v)+" is not a time: use Unix seconds, -600 for 10 minutes ago, or 2006-01-02T15:04:05Z")
		return time.Time{}
	}
	if s < 0 {
		return q.now.Add(time.Duration(max(s, -1e9) * float64(time.Second)))
	}
	return time.UnixMilli(int64(math.Round(s * 1000)))
}

// done returns the first error. A parameter that nothing has read is one.
func (q *query) done() error {
	for name := range q.values {
		if !slices.Contains(q.known, name) {
			q.fail(cut(name, maxShown), "there is no such parameter")
		}
	}
	if q.err != nil {
		return q.err
	}
	return nil
}

// api answers a request for JSON.
func (d *Dashboard) api(answer func(*query) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(newQuery(r, d.c.clock()))
		if err != nil {
			writeError(w, r, err)
			return
		}
		if c, ok := v.(csvAnswer); ok {
			w.Header().Set("Content-Disposition", `attachment; filename="series.csv"`)
			page.Write(w, r, "text/csv; charset=utf-8; header=present", c)
			return
		}
		page.JSON(w, r, v)
	}
}

// csvAnswer is an answer in CSV.
type csvAnswer []byte

// apiError returns the status and the answer for an error.
func apiError(err error) (int, Error) {
	if bad := (*badParam)(nil); errors.As(err, &bad) {
		return http.StatusBadRequest, Error{Error: bad.text, Parameter: bad.name}
	}
	if errors.Is(err, ErrUnknown) {
		return http.StatusNotFound, Error{Error: err.Error()}
	}
	return http.StatusInternalServerError, Error{Error: err.Error()}
}

func writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, e := apiError(err)
	page.JSONError(w, r, status, e)
}

func (d *Dashboard) apiOverview(q *query) (any, error) { return d.Overview(), q.done() }

func (d *Dashboard) apiClusters(q *query) (any, error) {
	pattern := q.pattern("q")
	offset, limit := q.number("offset", 0, 0, math.MaxInt32), q.number("limit", defaultLimit, 1, maxLimit)
	if err := q.done(); err != nil {
		return nil, err
	}
	l := d.Clusters()
	l.Clusters = slices.DeleteFunc(slices.Clone(l.Clusters), func(c Cluster) bool { return pattern != "" && !matches(pattern, c.Name) })
	l.Total = len(l.Clusters)
	l.Clusters = slice(l.Clusters, offset, limit)
	return l, nil
}

func (d *Dashboard) apiNodes(q *query) (any, error) {
	cluster, pattern, state := q.text("cluster"), q.pattern("q"), q.choice("state", Live, Silent, Failing, Ended)
	offset, limit := q.number("offset", 0, 0, math.MaxInt32), q.number("limit", defaultLimit, 1, maxLimit)
	if err := q.done(); err != nil {
		return nil, err
	}
	l, err := d.Nodes(cluster)
	if err != nil {
		return nil, err
	}
	l.Nodes = slices.DeleteFunc(slices.Clone(l.Nodes), func(n Node) bool {
		return state != "" && n.State != state || pattern != "" && !matches(pattern, n.Name)
	})
	l.Total = len(l.Nodes)
	l.Nodes = slice(l.Nodes, offset, limit)
	return l, nil
}

func (d *Dashboard) apiParams(q *query) (any, error) {
	cluster, node, pattern, limit := q.need("cluster"), q.text("node"), q.pattern("q"), q.number("limit", defaultLimit, 1, maxLimit)
	if err := q.done(); err != nil {
		return nil, err
	}
	return d.Params(cluster, node, pattern, limit)
}

func (d *Dashboard) apiSeries(q *query) (any, error) {
	cluster, param, nodes := q.need("cluster"), q.need("param"), q.all("node", maxNodes)
	from, to, format := q.time("from"), q.time("to"), q.choice("format", "json", "csv")
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		q.fail("to", "it is before from")
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	v := d.c.view()
	var err error
	if len(nodes) == 0 {
		if cluster, param, nodes, err = d.nodesWith(v, cluster, param); err != nil {
			return nil, err
		}
	}
	l, points := &SeriesList{Time: v.at}, make([][]history.Point, len(nodes))
	values := 0
	for i, node := range nodes {
		var s *Series
		if s, points[i], err = d.points(v, cluster, node, param, from, to); err != nil {
			return nil, err
		}
		l.Series = append(l.Series, *s)
		if values += len(points[i]); values > maxValues {
			return nil, &badParam{"from", fmt.Sprintf("these are more than %d values: ask for a shorter time, or for some nodes", maxValues)}
		}
	}
	if format == "csv" {
		return csvOf(l.Series, points)
	}
	for i := range l.Series {
		l.Series[i].Points = samplesOf(points[i])
	}
	return l, nil
}

// nodesWith returns the names of a cluster and a parameter, and its listed nodes that have the
// parameter.
func (d *Dashboard) nodesWith(v *view, clusterRef, paramRef string) (cluster, param string, nodes []string, err error) {
	cluster, ok := v.cluster(clusterRef)
	if !ok {
		return "", "", nil, unknown("cluster", clusterRef)
	}
	all := v.of(cluster)
	if param, ok = d.paramName(v, all, paramRef); !ok {
		return "", "", nil, unknown("parameter", paramRef)
	}
	for i := range all {
		if _, ok := d.c.source.Windows.Points(nil, cluster, all[i].Name, param, v.at, v.at); ok {
			nodes = append(nodes, all[i].Name)
		}
	}
	return cluster, param, nodes, nil
}

// csvOf returns series as CSV.
func csvOf(series []Series, points [][]history.Point) (any, error) {
	var b bytes.Buffer
	if err := writeCSV(&b, series, points); err != nil {
		return nil, err
	}
	return csvAnswer(b.Bytes()), nil
}

func (d *Dashboard) apiJobs(q *query) (any, error) {
	sel := jobSelection{
		cluster: q.text("cluster"), pattern: q.pattern("q"), state: q.choice("state", Live, Silent, Failing, Ended),
		offset: q.number("offset", 0, 0, math.MaxInt32), limit: q.number("limit", defaultLimit, 1, maxLimit),
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	return d.jobs(d.c.view(), sel)
}

func (d *Dashboard) apiSenders(q *query) (any, error) {
	offset, limit := q.number("offset", 0, 0, math.MaxInt32), q.number("limit", defaultLimit, 1, maxLimit)
	if err := q.done(); err != nil {
		return nil, err
	}
	l := d.Senders()
	l.Senders = slice(l.Senders, offset, limit)
	return l, nil
}

// Dashboard shows a [Source]. Use [New].
type Dashboard struct {
	c    *collector
	site *page.Site
	mux  *http.ServeMux
}

// New returns a dashboard. The program, navigation and search of the options are set if they
// are empty. Call [Dashboard.Close] before the server ends.
func New(s Source, o page.Options) *Dashboard { return newDashboard(s, o, time.Now) }

func newDashboard(s Source, o page.Options, clock func() time.Time) *Dashboard {
	o.Program, o.Version, o.Host = cmp.Or(o.Program, s.Name), cmp.Or(o.Version, s.Version), cmp.Or(o.Host, s.Host)
	if o.Nav == nil {
		o.Nav = []page.Link{{Path: overviewPath, Text: "Overview"}, {Path: nodesPath, Text: "Nodes"}, {Path: jobsPath, Text: "Jobs"}}
		if s.Senders != nil {
			o.Nav = append(o.Nav, page.Link{Path: sendersPath, Text: "Senders"})
		}
	}
	o.Foot = append(slices.Clip(o.Foot), page.Link{Path: apiPath + "overview", Text: apiPath})
	if o.Search == "" {
		o.Search, o.SearchHint = searchPath, "cluster, node or parameter, * and ?"
	}
	d := &Dashboard{c: newCollector(s, clock), site: page.New(o), mux: http.NewServeMux()}
	for path, answer := range map[string]func(*query) (any, error){
		"overview": d.apiOverview, "clusters": d.apiClusters, "nodes": d.apiNodes, "params": d.apiParams,
		"series": d.apiSeries, "jobs": d.apiJobs, "senders": d.apiSenders,
	} {
		d.mux.HandleFunc(apiPath+path, d.api(answer))
	}
	d.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { writeError(w, r, unknown("path", r.URL.Path)) })
	for path, render := range map[string]func(*view, *query) (page.Page, error){
		overviewPath + "{$}": d.overviewPage, clustersPath: d.clustersPage, nodesPath: d.nodesPage, nodePath: d.nodePage,
		paramPath: d.paramPage, jobsPath: d.jobsPage, sendersPath: d.sendersPage, searchPath: d.searchPage,
	} {
		d.mux.Handle(path, d.live(render))
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.site.Render(w, r, errorPage(unknown("page", r.URL.Path)))
	})
	d.mux.Handle(page.StaticPath, d.site)
	d.mux.Handle(page.LivePath, d.site)
	return d
}

// Run follows what is received until ctx ends: whether nodes fall silent, and the rates of
// the last hour. Without it this happens only when something reads.
func (d *Dashboard) Run(ctx context.Context) { d.c.run(ctx) }

// Close ends the answers that go on: those that say when a page has news.
func (d *Dashboard) Close() { d.site.Close() }

// Serve runs a server of the dashboard, and [Dashboard.Run], until ctx ends, and returns the
// error of the server. The answers that go on end with ctx.
func (d *Dashboard) Serve(ctx context.Context, server func(context.Context) error) error {
	defer context.AfterFunc(ctx, d.Close)()
	var following sync.WaitGroup
	defer following.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	following.Go(func() { d.Run(ctx) })
	return server(ctx)
}

// ServeHTTP implements [http.Handler].
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }
