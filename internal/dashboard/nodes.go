package dashboard

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
)

// maxResults is the most entries of each kind that a search lists.
const maxResults = 50

// filterForm is a form that filters a list.
type filterForm struct {
	Action, Query, Hint string
	Hidden              []field
}

// field is a part of a form that is not shown.
type field struct{ Name, Value string }

// choices are links of which one is the current one.
type choices struct {
	Label   string
	Choices []choice
}

// clustersPage lists all clusters.
func (d *Dashboard) clustersPage(v *view, q *query) (page.Page, error) {
	pattern, offset := q.pattern("q"), q.number("offset", 0, 0, math.MaxInt32)
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	type row struct {
		Cluster
		Link, Well string
		When       when
	}
	data := struct {
		Filter filterForm
		Rows   []row
		Pages  pages
		Total  int
		API    string
	}{API: link(apiPath+"clusters", "q", pattern), Filter: filterForm{Action: clustersPath, Query: pattern, Hint: "clusters, * and ?"}}
	all := slices.DeleteFunc(slices.Clone(v.clusters), func(c Cluster) bool { return pattern != "" && !matches(pattern, c.Name) })
	data.Total = len(all)
	for _, c := range slice(all, offset, pageSize) {
		data.Rows = append(data.Rows, row{c, clusterLink(c.Name, ""), wellText(&c), whenOf(c.LastHeard, v.at)})
	}
	data.Pages = pagesOf(offset, len(data.Rows), len(all), func(o string) string { return link(clustersPath, "q", pattern, "offset", o) })
	return page.Page{Title: "Clusters", Path: nodesPath, Main: execute("clusters.html", data)}, nil
}

// nodesPage lists the nodes of a cluster, or of all.
func (d *Dashboard) nodesPage(v *view, q *query) (page.Page, error) {
	ref, pattern, state := q.text("cluster"), q.pattern("q"), q.choice("state", Live, Silent, Failing, Ended)
	by, offset := q.choice("sort", "name", "value", "age"), q.number("offset", 0, 0, math.MaxInt32)
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	cluster := ""
	if ref != "" {
		var ok bool
		if cluster, ok = v.cluster(ref); !ok {
			return page.Page{}, unknown("cluster", ref)
		}
		ref = Ref(cluster)
	}
	data := struct {
		Cluster                string
		Clusters               int
		States, Sorts          choices
		Filter                 filterForm
		Panel                  *clusterPanel
		Table                  nodeTable
		Pages                  pages
		Total                  int
		AllClusters, JobsTable string
		API                    string
	}{Cluster: cluster, Clusters: len(v.clusters), AllClusters: clustersPath}
	at := func(state, by, o string) string {
		return link(nodesPath, "cluster", ref, "state", state, "q", pattern, "sort", by, "offset", o)
	}
	data.API = link(apiPath+"nodes", "cluster", ref, "state", state, "q", pattern)
	nodes := v.nodes
	if ref != "" {
		nodes = v.of(cluster)
	}
	lead, columns := d.lead(v, nodes)
	some := filterNodes(nodes, pattern, "")
	data.States = stateChoices(some, state, func(state string) string { return at(state, by, "") })
	some = filterNodes(some, "", state)
	d.sortNodes(v, some, by, lead)
	for _, s := range []string{"name", "value", "age"} {
		if s != "value" || lead != "" {
			text := s
			if s == "value" {
				text = shown(lead)
			}
			data.Sorts.Choices = append(data.Sorts.Choices, choice{Text: text, Link: at(state, s, ""), Current: s == by || by == "" && s == "name", Count: -1})
		}
	}
	data.Sorts.Label = "Order"
	data.Total = len(some)
	rows := slice(some, offset, pageSize)
	data.Table = d.table(v, rows, lead, columns)
	data.Table.WithCluster = ref == ""
	data.Pages = pagesOf(offset, len(rows), len(some), func(o string) string { return at(state, by, o) })
	data.Filter = filterForm{Action: nodesPath, Query: pattern, Hint: "nodes, * and ?", Hidden: []field{{"cluster", ref}, {"state", state}, {"sort", by}}}
	if c := v.byName[cluster]; ref != "" && c != nil && lead != "" && offset == 0 {
		data.Panel = d.clusterPanel(v, c, nodes, lead, span{v.at.Add(-time.Hour), v.at, "1 h"})
		if c.Jobs > 0 {
			data.JobsTable = link(jobsPath, "cluster", ref)
		}
	}
	name := "Nodes"
	if cluster != "" {
		name = shown(cluster)
	}
	return page.Page{Title: name, Path: nodesPath, Main: execute("nodes.html", data)}, nil
}

func filterNodes(nodes []Node, pattern, state string) []Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool {
		return state != "" && n.State != state || pattern != "" && !matches(pattern, n.Name)
	})
}

// stateChoices returns links to the nodes in each state.
func stateChoices(nodes []Node, current string, at func(state string) string) choices {
	counts := make(map[string]int)
	for i := range nodes {
		counts[nodes[i].State]++
	}
	c := choices{Label: "State", Choices: []choice{{Text: "all", Link: at(""), Current: current == "", Count: len(nodes)}}}
	for _, state := range []string{Failing, Silent, Live, Ended} {
		if counts[state] > 0 || state == current {
			c.Choices = append(c.Choices, choice{Text: state, Link: at(state), Current: state == current, Count: counts[state]})
		}
	}
	return c
}

// sortNodes sorts nodes by name as people do, by a value with the largest first, or by age with
// the latest first.
func (d *Dashboard) sortNodes(v *view, nodes []Node, by, param string) {
	switch by {
	case "value":
		copy(nodes, d.ranked(v, nodes, param))
	case "age":
		slices.SortStableFunc(nodes, func(a, b Node) int { return b.LastHeard.Compare(a.LastHeard) })
	default:
		slices.SortStableFunc(nodes, func(a, b Node) int {
			return cmp.Or(CompareNames(a.Cluster, b.Cluster), CompareNames(a.Name, b.Name))
		})
	}
}

// paramRow is a parameter as a line of a table.
type paramRow struct {
	Name, Link, Meaning string
	Value               quant
	Bar                 template.HTML
	Text                bool
	Changes             []change // of a text, the latest first
	When                when
	Stale               bool
	Spark               template.HTML
}

// change is a value of a text.
type change struct {
	Value string
	When  when
}

// paramGroup is parameters whose names begin alike.
type paramGroup struct {
	Name string
	Rows []paramRow
}

// nodePage shows the parameters of a node.
func (d *Dashboard) nodePage(v *view, q *query) (page.Page, error) {
	clusterRef, nodeRef, pattern, offset := q.need("cluster"), q.need("node"), q.pattern("q"), q.number("offset", 0, 0, math.MaxInt32)
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	cluster, name, err := d.c.resolve(v, clusterRef, nodeRef)
	if err != nil {
		return page.Page{}, err
	}
	clusterRef, nodeRef = Ref(cluster), Ref(name)
	all := d.c.source.Windows.Series(v.at, cluster, name)
	data := struct {
		Node        Node
		Listed      bool
		When        when
		Interval    string
		ClusterLink string
		Filter      filterForm
		Groups      []paramGroup
		Total       int
		Pages       pages
		API         string
	}{Node: v.node(cluster, name), ClusterLink: clusterLink(cluster, "")}
	data.Listed = data.Node.State != ""
	if !data.Listed {
		data.Node = Node{Cluster: cluster, Name: name, State: Silent}
		for i := range all {
			if all[i].Received.After(data.Node.LastHeard) {
				data.Node.LastHeard = all[i].Received
			}
		}
	}
	data.When = whenOf(data.Node.LastHeard, v.at)
	if s := data.Node.Interval; s > 0 {
		data.Interval = quantity.Age(time.Duration(s * float64(time.Second)))
	}
	all = slices.DeleteFunc(all, func(s history.SeriesInfo) bool {
		return data.Node.LastHeard.Sub(s.Received) > gone || pattern != "" && !matches(pattern, s.Last.Name)
	})
	data.Total = len(all)
	slices.SortFunc(all, func(a, b history.SeriesInfo) int { return CompareNames(a.Last.Name, b.Last.Name) })
	groupOf := groupNames(all)
	slices.SortStableFunc(all, func(a, b history.SeriesInfo) int {
		return cmp.Compare(groupOf[a.Last.Name], groupOf[b.Last.Name])
	})
	some := slice(all, offset, 2*pageSize)
	for i := range some {
		g := groupOf[some[i].Last.Name]
		if n := len(data.Groups); n == 0 || data.Groups[n-1].Name != g {
			data.Groups = append(data.Groups, paramGroup{Name: g})
		}
		last := &data.Groups[len(data.Groups)-1]
		last.Rows = append(last.Rows, d.paramRow(v, &data.Node, &some[i]))
	}
	args := []string{"cluster", clusterRef, "node", nodeRef, "q", pattern}
	data.Pages = pagesOf(offset, len(some), len(all), func(o string) string { return link(nodePath, append(args, "offset", o)...) })
	data.Filter = filterForm{Action: nodePath, Query: pattern, Hint: "parameters, * and ?", Hidden: []field{{"cluster", clusterRef}, {"node", nodeRef}}}
	data.API = link(apiPath+"params", args[:4]...)
	return page.Page{Title: shown(name), Path: nodesPath, Main: execute("node.html", data)}, nil
}

// node returns a listed node, or one without a state.
func (v *view) node(cluster, name string) Node {
	nodes := v.of(cluster)
	if i, ok := findNode(nodes, name); ok {
		return nodes[i]
	}
	return Node{}
}

// groupNames returns the group of each parameter: the beginning of its name up to the first
// character that is not a letter, if others begin alike, else "".
func groupNames(all []history.SeriesInfo) map[string]string {
	prefix := func(name string) string {
		end := strings.IndexFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') })
		if end < 0 {
			return name
		}
		return name[:end]
	}
	counts := make(map[string]int)
	for i := range all {
		counts[prefix(all[i].Last.Name)]++
	}
	groups := make(map[string]string, len(all))
	for i := range all {
		if p := prefix(all[i].Last.Name); counts[p] > 1 {
			groups[all[i].Last.Name] = p
		}
	}
	return groups
}

// paramRow reads the last hour of a parameter.
func (d *Dashboard) paramRow(v *view, n *Node, s *history.SeriesInfo) paramRow {
	const listed = 5 // changes
	r := paramRow{Name: s.Last.Name, Link: paramLink(s.Cluster, s.Last.Name, s.Node), Text: isText(&s.Last), When: whenOf(s.Received, v.at)}
	usual := time.Duration(n.Interval * float64(time.Second))
	r.Stale = n.State == Live && v.at.Sub(s.Received) > max(silentAfter*usual, leastSilence)
	var unit string
	unit, r.Meaning = d.units(s.Last.Name)
	points, _ := d.c.source.Windows.Points(nil, s.Cluster, s.Node, s.Last.Name, v.at.Add(-time.Hour), v.at.Add(viewEvery))
	if r.Text {
		r.Value = quant{Text: s.Last.Text()}
		for i := len(points) - 1; i >= 0 && len(points)-i <= listed && len(points) > 1; i-- {
			r.Changes = append(r.Changes, change{points[i].Value.Text(), whenOf(points[i].Time, v.at)})
		}
		return r
	}
	r.Value = quantOf(s.Last.Float(), unit)
	r.Value.Exact = quantity.Join(plainValue(&s.Last), unit)
	if unit == "%" && finite(&s.Last) {
		r.Bar = graph.Bar(s.Last.Float()/100, quantity.Join(r.Value.Text, r.Value.Unit))
	}
	r.Spark = spark(points, graph.Sparkline{Width: 150})
	return r
}

// searchPage lists clusters, nodes and parameters whose names match.
func (d *Dashboard) searchPage(v *view, q *query) (page.Page, error) {
	pattern := q.pattern("q")
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	type paramResult struct {
		Cluster, Param, Link, Meaning string
		Nodes                         int
	}
	data := struct {
		Query    string
		Clusters []Cluster
		Nodes    nodeTable
		Params   []paramResult
		// How many there are of each.
		ClusterCount, NodeCount, ParamCount int
		AllClusters, AllNodes               string
	}{Query: pattern, AllClusters: link(clustersPath, "q", pattern), AllNodes: link(nodesPath, "q", pattern)}
	if pattern != "" {
		for i := range v.clusters {
			if matches(pattern, v.clusters[i].Name) {
				if data.ClusterCount++; data.ClusterCount <= maxResults {
					data.Clusters = append(data.Clusters, v.clusters[i])
				}
			}
		}
		nodes := filterNodes(v.nodes, pattern, "")
		data.NodeCount = len(nodes)
		d.sortNodes(v, nodes, "name", "")
		nodes = nodes[:min(len(nodes), maxResults)]
		lead, columns := d.lead(v, nodes)
		data.Nodes = d.table(v, nodes, lead, columns)
		data.Nodes.WithCluster = true
		found := d.findParams(v, pattern)
		data.ParamCount = len(found)
		for _, f := range found[:min(len(found), maxResults)] {
			_, meaning := d.units(f.param)
			data.Params = append(data.Params, paramResult{f.cluster, f.param, paramLink(f.cluster, f.param, f.only...), meaning, f.nodes})
		}
	}
	return page.Page{Title: "Search", Path: nodesPath, Query: pattern, Main: execute("search.html", data)}, nil
}

// foundParam is a parameter of a cluster.
type foundParam struct {
	cluster, param string
	nodes          int
	only           []string // the node, if it is one
}

// findParams returns the parameters whose names match, of all listed nodes.
func (d *Dashboard) findParams(v *view, pattern string) []foundParam {
	const most = 10_000
	type key struct{ cluster, param string }
	known := make(map[string]bool) // by name: whether it matches
	found := make(map[key]*foundParam)
	d.c.source.Windows.EachSeries(v.at, func(s *history.SeriesInfo) {
		name := s.Last.Name
		match, ok := known[name]
		if !ok {
			if match = matches(pattern, name); len(known) < most {
				known[name] = match
			}
		}
		if !match || v.at.Sub(s.Received) > gone {
			return
		}
		k := key{s.Cluster, name}
		f := found[k]
		if f == nil {
			if len(found) >= most {
				return
			}
			f = &foundParam{cluster: s.Cluster, param: name, only: []string{s.Node}}
			found[k] = f
		}
		if f.nodes++; f.nodes > 1 {
			f.only = nil
		}
	})
	all := make([]foundParam, 0, len(found))
	for _, f := range found {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b foundParam) int {
		return cmp.Or(cmp.Compare(b.nodes, a.nodes), CompareNames(a.cluster, b.cluster), CompareNames(a.param, b.param))
	})
	return all
}
