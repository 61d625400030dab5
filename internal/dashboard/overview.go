package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
)

const (
	// maxOpen is the most clusters of the overview that are shown with their nodes, and
	// maxClosed the most others, in one line each.
	maxOpen   = 12
	maxClosed = 60
	// overviewNodes is the number of nodes in the table of the overview.
	overviewNodes = 9
)

// kpi is a number at the top of the overview.
type kpi struct {
	Label, Value, Unit, Title, Link string
	Warn                            bool
	Spark                           template.HTML
}

// card is a cluster with its nodes.
type card struct {
	Cluster
	Link, Well string
	Counts     []choice // links to those that are not well
	More       int      // nodes that are not shown as cells
	Cells      template.HTML
	Lead       string
	LeadLink   string
	Foot       string
	Spark      template.HTML
}

// outputRow is an output as a line of a table.
type outputRow struct {
	Output
	Queue  template.HTML
	Causes string
	When   when
}

type overviewPage struct {
	KPIs     []kpi
	Problems []problemRow
	Open     []card
	Closed   []card
	Hidden   int // clusters that are not listed
	All      string
	Total    int
	Panel    *clusterPanel
	Nodes    nodeTable
	NodesOf  Cluster
	Outputs  []outputRow
	History  string
	Since    when
}

// clusterPanel is the graph of a parameter of all nodes of a cluster.
type clusterPanel struct {
	Cluster, Param, Link string
	Mean                 quant
	Text                 string
	Ranges               []choice
	CSV, JSON            string // empty for a part of another page
	Graph                template.HTML
}

func (d *Dashboard) overviewPage(v *view, q *query) (page.Page, error) {
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	o := &v.overview
	p := overviewPage{Problems: v.problemRows(), Total: len(v.clusters), All: clustersPath}
	p.KPIs, p.Outputs = d.counts(o)
	p.History = fmt.Sprintf("%s of the last %s, %s of %s", plural(float64(o.History.Points), "value"), quantity.Age(d.c.source.Windows.Stats().Span),
		quantity.String(float64(o.History.Bytes), "B"), quantity.String(float64(o.History.MaxBytes), "B"))
	open, closed := v.split()
	main := biggest(v.clusters)
	for _, c := range open {
		p.Open = append(p.Open, d.card(v, c))
	}
	for _, c := range closed[:min(len(closed), maxClosed)] {
		p.Closed = append(p.Closed, card{Cluster: *c, Link: clusterLink(c.Name, ""), Well: wellText(c)})
	}
	p.Hidden = len(closed) - len(p.Closed)
	if main != nil {
		nodes := v.of(main.Name)
		lead, columns := d.lead(v, nodes)
		if lead != "" {
			p.Panel = d.clusterPanel(v, main, nodes, lead, span{v.at.Add(-time.Hour), v.at, "1 h"})
		}
		p.NodesOf = *main
		p.Nodes = d.table(v, slice(d.ranked(v, nodes, lead), 0, overviewNodes), lead, columns)
	}
	return page.Page{Title: "Overview", Path: overviewPath, Main: execute("overview.html", p)}, nil
}

// split returns the clusters that are shown open, and the others.
func (v *view) split() (open, closed []*Cluster) {
	for i := range v.clusters {
		c := &v.clusters[i]
		if len(open) < maxOpen {
			open = append(open, c)
		} else {
			closed = append(closed, c)
		}
	}
	return open, closed
}

// biggest returns the cluster of hosts with the most nodes, or else that with the most nodes.
func biggest(clusters []Cluster) *Cluster {
	var best *Cluster
	rank := func(c *Cluster) int {
		if c.Jobs > 0 {
			return c.Nodes
		}
		return c.Nodes + 1<<30
	}
	for i := range clusters {
		if c := &clusters[i]; best == nil || rank(c) > rank(best) {
			best = c
		}
	}
	return best
}

// ranked returns the nodes with the largest values of a parameter first, and those without it
// last.
func (d *Dashboard) ranked(v *view, nodes []Node, param string) []Node {
	type ranked struct {
		node  *Node
		value float64
	}
	t := tracker{windows: d.c.source.Windows}
	all := make([]ranked, len(nodes))
	for i := range nodes {
		all[i] = ranked{&nodes[i], math.Inf(-1)}
		if last, _, ok := t.last(v.at, nodeKey{nodes[i].Cluster, nodes[i].Name}, param); ok && finite(&last) {
			all[i].value = last.Float()
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.value, a.value) })
	sorted := make([]Node, len(nodes))
	for i := range all {
		sorted[i] = *all[i].node
	}
	return sorted
}

// wellText says how many nodes are well, such as "48 of 48".
func wellText(c *Cluster) string {
	if c.Jobs == c.Nodes {
		return fmt.Sprintf("%d running", c.Live)
	}
	return fmt.Sprintf("%d of %d", c.Live+c.Ended, c.Nodes)
}

// card returns a cluster with its nodes.
func (d *Dashboard) card(v *view, c *Cluster) card {
	nodes := v.of(c.Name)
	lead, _ := d.lead(v, nodes)
	k := card{Cluster: *c, Link: clusterLink(c.Name, ""), Well: wellText(c), More: max(len(nodes)-maxCells, 0), Lead: lead}
	k.Cells = d.cells(v, c, nodes, lead)
	for _, s := range []struct {
		n           int
		state, text string
	}{{c.Failing, Failing, "failing"}, {c.Silent, Silent, "silent"}, {c.Ended, Ended, "ended"}} {
		if s.n > 0 {
			k.Counts = append(k.Counts, choice{Text: s.text, Link: clusterLink(c.Name, s.state), Count: s.n})
		}
	}
	if c.Lossy > 0 {
		k.Counts = append(k.Counts, choice{Text: plural(float64(c.Lossy), "lossy sender")[len(fmt.Sprint(c.Lossy))+1:], Link: link(sendersPath, "show", "lossy"), Count: c.Lossy})
	}
	if lead != "" {
		a, _ := d.sinceFirst(spread(nodes, aggregated), lead, v.at.Add(-time.Hour), v.at, bands)
		unit, _ := d.units(lead)
		k.LeadLink = paramLink(c.Name, lead)
		k.Foot = quantity.String(a.last, unit)
		if a.nodes > 1 {
			k.Foot = "mean " + k.Foot
		}
		k.Spark = graph.Spark(graph.Sparkline{Width: 150, Height: 28, Dot: true, Min: 1}, a.values())
	}
	return k
}

// clusterPanel returns the graph of a parameter of all nodes of a cluster.
func (d *Dashboard) clusterPanel(v *view, c *Cluster, nodes []Node, param string, s span) *clusterPanel {
	some := spread(nodes, aggregated)
	var a aggregate
	if s.name == "" {
		a = d.aggregate(some, param, s.from, s.to, bands)
	} else {
		a, s.from = d.sinceFirst(some, param, s.from, s.to, bands)
	}
	unit, _ := d.units(param)
	p := &clusterPanel{Cluster: c.Name, Param: param, Link: paramLink(c.Name, param), Mean: quantOf(a.last, unit)}
	switch {
	case a.nodes == 1:
		p.Text = "the last value"
	case len(some) < len(nodes):
		p.Text = fmt.Sprintf("mean of %d of %d nodes, at equal distances", a.nodes, len(nodes))
	default:
		p.Text = fmt.Sprintf("mean of %d nodes", a.nodes)
	}
	label := fmt.Sprintf("%s of %s of %s", shown(param), plural(float64(a.nodes), "node"), shown(c.Name))
	p.Graph = a.panel(label, unit, s.from, s.to)
	return p
}

// counts returns the numbers at the top, and the outputs, with their last hour.
func (d *Dashboard) counts(o *Overview) ([]kpi, []outputRow) {
	d.c.mu.Lock()
	s := &d.c.samples
	perSecond := func(count func(*Totals) uint64) func(from, to *sample) float64 {
		return func(from, to *sample) float64 { return rate(from, to, count) }
	}
	graphs := [][]float64{
		s.graph(perSecond(datagrams)), s.graph(perSecond(parameters)),
		s.graph(func(_, to *sample) float64 { return float64(to.totals.Senders) }),
		s.graph(lostRatio),
		s.graph(perSecond(refused)),
		s.graph(func(_, to *sample) float64 { return float64(to.failed) }),
	}
	queues := make([][]float64, len(o.Outputs))
	for i := range queues {
		name := o.Outputs[i].Name
		queues[i] = s.graph(func(_, to *sample) float64 { return float64(to.queued[name]) })
	}
	d.c.mu.Unlock()
	kpis := d.kpis(o, graphs)
	rows := make([]outputRow, len(o.Outputs))
	for i, out := range o.Outputs {
		rows[i] = outputRow{Output: out, Queue: graph.Spark(graph.Sparkline{Label: "datagrams that waited in the last hour", Dot: true}, thin(queues[i], sparkValues)), Causes: causes(nil, out.Dropped)}
		if out.Since != nil {
			rows[i].When = whenOf(*out.Since, o.Time)
		}
	}
	return kpis, rows
}

// kpis returns the numbers at the top with their graphs.
func (d *Dashboard) kpis(o *Overview, graphs [][]float64) []kpi {
	failed := 0
	for _, out := range o.Outputs {
		if out.Error != "" {
			failed++
		}
	}
	number := func(label, link string, v float64, unit string, warn bool) kpi {
		text, u := quantity.Format(v, unit)
		return kpi{Label: label, Link: link, Value: text, Unit: u, Title: quantity.ExactUnit(v, unit), Warn: warn}
	}
	var all []kpi
	add := func(k kpi, i int) {
		k.Spark = graph.Spark(graph.Sparkline{Width: 120, Height: 26, Stretch: true}, thin(graphs[i], sparkValues))
		all = append(all, k)
	}
	from := sendersPath
	if d.c.source.Senders == nil {
		from = nodesPath
	}
	add(number("datagrams", from, o.DatagramsPerSecond, "1/s", false), 0)
	add(number("parameters", nodesPath, o.ParametersPerSecond, "1/s", false), 1)
	if d.c.source.Senders != nil {
		add(number("senders", sendersPath, float64(o.Totals.Senders), "count", false), 2)
		add(number("lost", link(sendersPath, "show", "lossy"), 100*o.LostRatio, "%", o.LostRatio > 0), 3)
		refused := number("refused", link(sendersPath, "show", "refused"), o.RefusedPerMinute, "", o.RefusedPerMinute > 0)
		refused.Unit += "/min"
		refused.Title = causes(nil, o.Totals.Refusals)
		add(refused, 4)
	}
	if n := len(o.Outputs); n > 0 {
		add(kpi{Label: "outputs", Link: "#outputs", Value: fmt.Sprintf("%d of %d", n-failed, n), Title: "outputs that work", Warn: failed > 0}, 5)
	}
	return all
}
