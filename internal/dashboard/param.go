package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
)

// ranges are the parts of the window that a graph can show, beside those dragged on it.
var ranges = []struct {
	name string
	span time.Duration // 0 for all
}{{"10 min", 10 * time.Minute}, {"1 h", time.Hour}, {"all", 0}}

// span is the time that a graph shows.
type span struct {
	from, to time.Time
	name     string // of ranges; empty for one that is given by its ends
}

// span reads the parameters range, from and to.
func (q *query) span(window time.Duration) span {
	name, from, to := q.choice("range", "10 min", "1 h", "all"), q.time("from"), q.time("to")
	if !from.IsZero() || !to.IsZero() {
		if to.IsZero() {
			to = q.now
		}
		if from.IsZero() {
			from = q.now.Add(-window)
		}
		if !from.Before(to) {
			q.fail("to", "it is not after from")
		}
		return span{from: from, to: to}
	}
	name = cmp.Or(name, "1 h")
	for _, r := range ranges {
		if r.name == name && r.span > 0 {
			return span{q.now.Add(-r.span), q.now, name}
		}
	}
	return span{q.now.Add(-window), q.now, name}
}

// args returns the span as parameters of a URL.
func (s span) args() []string {
	if s.name != "" {
		return []string{"range", s.name}
	}
	return []string{"from", unixText(s.from), "to", unixText(s.to)}
}

// statRow is what a series comes to.
type statRow struct {
	Node                       Node
	Link, Without              string
	Last, Least, Mean, Largest quant
	Values                     int
	When                       when
}

type paramData struct {
	Cluster, Param, ClusterLink string
	Unit, Meaning               string
	NodeLink, Node              string // if it is one
	Ranges                      []choice
	CSV, JSON                   string
	Span                        spanForm
	Graph                       template.HTML
	Panel                       *clusterPanel
	Stats                       []statRow
	Texts                       []textRow
	All                         string   // nodes
	Others                      []choice // nodes to add
	Table                       *nodeTable
	Hidden                      int
}

// spanForm is a form for the ends of the time, for readers who cannot drag.
type spanForm struct {
	Action   string
	Hidden   []field
	From, To string // empty for one of ranges
}

// textRow is a change of a text.
type textRow struct {
	Node, Value string
	When        when
}

// paramPage shows a parameter of some nodes, or of all nodes of a cluster.
func (d *Dashboard) paramPage(v *view, q *query) (page.Page, error) {
	clusterRef, param, refs := q.need("cluster"), q.need("param"), q.all("node", maxNodes)
	s := q.span(d.c.source.Windows.Stats().Span)
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	data := &paramData{}
	args := []string{"cluster", clusterRef, "param", param}
	for _, ref := range refs {
		args = append(args, "node", ref)
	}
	for _, r := range ranges {
		data.Ranges = append(data.Ranges, choice{Text: r.name, Link: link(paramPath, append(slices.Clip(args), "range", r.name)...), Current: r.name == s.name, Count: -1})
	}
	data.JSON = link(apiPath+"series", append(slices.Clip(args), "from", unixText(s.from), "to", unixText(s.to))...)
	data.CSV = data.JSON + "&format=csv"
	data.Span = spanForm{Action: paramPath}
	for i := 0; i < len(args); i += 2 {
		data.Span.Hidden = append(data.Span.Hidden, field{args[i], args[i+1]})
	}
	if s.name == "" { // otherwise they change while the reader types
		data.Span.From, data.Span.To = s.from.Local().Format(localTime), s.to.Local().Format(localTime)
	}
	var err error
	if len(refs) == 0 {
		err = d.paramOfAll(v, data, clusterRef, param, s)
	} else {
		err = d.paramOfSome(v, data, clusterRef, param, refs, s)
	}
	if err != nil {
		return page.Page{}, err
	}
	data.ClusterLink, data.All = clusterLink(data.Cluster, ""), link(paramPath, append([]string{"cluster", clusterRef, "param", param}, s.args()...)...)
	return page.Page{Title: shown(data.Param), Path: nodesPath, Main: execute("param.html", data)}, nil
}

// paramOfAll shows the mean of a parameter over a cluster, and the nodes by value.
func (d *Dashboard) paramOfAll(v *view, data *paramData, clusterRef, param string, s span) error {
	cluster, ok := v.cluster(clusterRef)
	if !ok {
		return unknown("cluster", clusterRef)
	}
	param, ok = d.paramName(v, v.of(cluster), param)
	if !ok {
		return unknown("parameter", param)
	}
	nodes := d.ranked(v, v.of(cluster), param)
	data.Cluster, data.Param = cluster, param
	data.Unit, data.Meaning = d.units(param)
	data.Panel = d.clusterPanel(v, v.byName[cluster], v.of(cluster), param, s)
	data.Panel.Ranges, data.Panel.CSV, data.Panel.JSON = data.Ranges, data.CSV, data.JSON
	t := d.table(v, nodes[:min(len(nodes), pageSize)], param, nil)
	for i := range t.Rows {
		t.Rows[i].Link = paramLink(cluster, param, t.Rows[i].Name)
	}
	data.Table, data.Hidden = &t, max(len(nodes)-pageSize, 0)
	return nil
}

// paramName returns the name of a parameter of any of the nodes that ref stands for.
func (d *Dashboard) paramName(v *view, nodes []Node, ref string) (string, bool) {
	w := d.c.source.Windows
	var points []history.Point
	for i := range nodes {
		n := &nodes[i]
		var ok bool
		if points, ok = w.Points(points[:0], n.Cluster, n.Name, ref, v.at, v.at); ok {
			return ref, true
		}
	}
	if !strings.HasPrefix(ref, digest) {
		return ref, false
	}
	for i := range nodes {
		for _, s := range w.Series(v.at, nodes[i].Cluster, nodes[i].Name) {
			if isRef(ref, s.Last.Name) {
				return s.Last.Name, true
			}
		}
	}
	return ref, false
}

// paramOfSome shows the values of a parameter of some nodes over one another.
func (d *Dashboard) paramOfSome(v *view, data *paramData, clusterRef, param string, refs []string, s span) error {
	var lines []graph.Series
	first := s.to
	for i, ref := range refs {
		series, points, err := d.points(v, clusterRef, ref, param, s.from, s.to)
		if err != nil {
			return err
		}
		data.Cluster, data.Param, data.Unit, data.Meaning = series.Cluster, series.Name, series.Unit, series.Meaning
		if len(refs) == 1 {
			data.Node, data.NodeLink = series.Node, nodeLink(series.Cluster, series.Node)
		}
		if n := len(points); n > 0 && isText(&points[n-1].Value) {
			data.addTexts(v, series.Node, points)
			continue
		}
		row := statRow{Node: v.node(series.Cluster, series.Node), Link: nodeLink(series.Cluster, series.Node), Values: len(points)}
		row.Node.Cluster, row.Node.Name = series.Cluster, series.Node
		if len(refs) > 1 {
			others := slices.Delete(slices.Clone(refs), i, i+1)
			row.Without = link(paramPath, append(paramArgs(series.Cluster, series.Name, others), s.args()...)...)
		}
		row.fill(v, series, points)
		data.Stats = append(data.Stats, row)
		line := graph.Series{Label: shown(series.Node), Points: graphPoints(points)}
		if len(line.Points) > 0 && line.Points[0].Time.Before(first) {
			first = line.Points[0].Time
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		if s.name != "" {
			s.from = firstShown(first, s.from, s.to)
		}
		o := graph.Options{Label: fmt.Sprintf("%s of %s", shown(data.Param), plural(float64(len(lines)), "node")), Unit: data.Unit, From: s.from, To: s.to}
		data.Graph = graph.Line(o, lines...) + graph.Table(o, lines...)
	}
	data.addOthers(v, refs, s)
	return nil
}

// fill sets the numbers of a series.
func (r *statRow) fill(v *view, s *Series, points []history.Point) {
	if n := len(points); n > 0 {
		last := &points[n-1]
		r.Last = quantOf(last.Value.Float(), s.Unit)
		r.Last.Exact = quantity.Join(plainValue(&last.Value), s.Unit)
		r.When = whenOf(last.Time, v.at)
	}
	if s.Mean != nil {
		r.Least, r.Mean, r.Largest = quantOf(*s.Min, s.Unit), quantOf(*s.Mean, s.Unit), quantOf(*s.Max, s.Unit)
	}
}

func graphPoints(points []history.Point) []graph.Point {
	all := make([]graph.Point, 0, len(points))
	for i := range points {
		if p := &points[i]; finite(&p.Value) {
			x := p.Value.Float()
			all = append(all, graph.Point{Time: p.Time, Value: x, Min: x, Max: x})
		}
	}
	return all
}

// addTexts adds the changes of a text, the latest first.
func (data *paramData) addTexts(v *view, node string, points []history.Point) {
	const most = 200
	for i := len(points) - 1; i >= max(0, len(points)-most); i-- {
		value := points[i].Value
		data.Texts = append(data.Texts, textRow{node, plainValue(&value), whenOf(points[i].Time, v.at)})
	}
}

// addOthers adds links to show a further node over the others.
func (data *paramData) addOthers(v *view, refs []string, s span) {
	const most = 12
	if len(refs) >= maxNodes || len(data.Texts) > 0 {
		return
	}
	for _, n := range v.of(data.Cluster) {
		if len(data.Others) >= most {
			return
		}
		if slices.ContainsFunc(refs, func(ref string) bool { return isRef(ref, n.Name) }) || n.State == Ended {
			continue
		}
		args := paramArgs(data.Cluster, data.Param, nil)
		for _, ref := range append(slices.Clone(refs), Ref(n.Name)) {
			args = append(args, "node", ref)
		}
		data.Others = append(data.Others, choice{Text: n.Name, Link: link(paramPath, append(args, s.args()...)...), Count: -1})
	}
}
