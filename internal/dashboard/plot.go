package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/history"
)

const (
	// sparkValues is the number of values of a small graph.
	sparkValues = 60
	// aggregated is the most nodes of a cluster whose mean a graph shows. With more, some at
	// equal distances stand for all.
	aggregated = 48
	// bands is the number of parts of the time axis of such a graph.
	bands = 120
	// maxCells is the most nodes of a cluster that the overview shows one by one.
	maxCells = 120
)

// leadParams are what says most about a node, the first first: of a host, then of a job or a
// program.
var leadParams = []string{"load1", "cpu_usage", "cpu_efficiency", "up", "mem_usage", "run_time"}

// columnParams are the columns of a list of nodes, beside that of the first of leadParams.
var columnParams = []string{
	"cpu_usage", "cpu_efficiency", "mem_usage", "total_traffic_in", "total_traffic_out", "processes",
	"up", "restarts", "run_time", "cpu_time", "rss", "disk_usage",
}

// Columns returns at most so many parameters for a list of nodes, the one that says most first,
// given those that the nodes have. If fewer than two of them are well known, others follow by name.
func Columns(names []string, most int) []string {
	var columns []string
	add := func(p string) {
		if len(columns) < most && !slices.Contains(columns, p) {
			columns = append(columns, p)
		}
	}
	if i := slices.IndexFunc(leadParams, func(p string) bool { return slices.Contains(names, p) }); i >= 0 {
		add(leadParams[i])
	}
	for _, p := range columnParams {
		if slices.Contains(names, p) {
			add(p)
		}
	}
	if len(columns) < 2 {
		for _, p := range slices.SortedFunc(slices.Values(names), CompareNames) {
			add(p)
		}
	}
	return columns
}

// lead returns the parameter that stands for a cluster, and the columns of a list of its
// nodes. They are those of its first nodes.
func (d *Dashboard) lead(v *view, nodes []Node) (param string, columns []string) {
	numbers := make(map[string]bool)
	var order []string
	for i := range nodes[:min(len(nodes), 3)] {
		infos := d.c.source.Windows.Series(v.at, nodes[i].Cluster, nodes[i].Name)
		for k := range infos[:min(len(infos), 1000)] {
			if s := &infos[k]; !isText(&s.Last) && len(s.Last.Name) <= maxInURL && !numbers[s.Last.Name] {
				numbers[s.Last.Name] = true
				order = append(order, s.Last.Name)
			}
		}
	}
	if c := Columns(order, 5); len(c) > 0 {
		param, columns = c[0], c[1:]
	}
	return param, columns
}

// spread returns at most n nodes at equal distances.
func spread(nodes []Node, n int) []Node {
	if len(nodes) <= n {
		return nodes
	}
	some := make([]Node, n)
	for i := range some {
		some[i] = nodes[i*len(nodes)/n]
	}
	return some
}

// aggregate is the mean of a parameter over nodes.
type aggregate struct {
	points []graph.Point
	last   float64 // mean of the last values
	nodes  int     // that have values
	least  float64
	most   float64
}

// aggregate returns the mean, the least and the most of a parameter of nodes over time, in
// so many parts. A node whose values are farther apart than a part counts in the parts between
// them too.
func (d *Dashboard) aggregate(nodes []Node, param string, from, to time.Time, parts int) aggregate {
	a := aggregate{least: math.Inf(1), most: math.Inf(-1)}
	sums, counts := make([]float64, parts), make([]int, parts)
	least, most := make([]float64, parts), make([]float64, parts)
	width := to.Sub(from) / time.Duration(parts)
	if width <= 0 {
		return a
	}
	var points []history.Point
	value := make([]float64, parts)
	for _, n := range nodes {
		points, _ = d.c.source.Windows.Points(points[:0], n.Cluster, n.Name, param, from, to)
		last, ok := inParts(value, points, from, width, 3*time.Duration(n.Interval*float64(time.Second)))
		if !ok {
			continue
		}
		a.nodes++
		a.last += last
		for i, x := range value {
			if x-x != 0 {
				continue
			}
			if counts[i] == 0 {
				least[i], most[i] = x, x
			}
			least[i], most[i] = min(least[i], x), max(most[i], x)
			sums[i] += x
			counts[i]++
		}
	}
	a.last /= float64(max(a.nodes, 1))
	for i := range parts {
		if counts[i] == 0 {
			continue
		}
		mid := from.Add(time.Duration(i)*width + width/2)
		a.points = append(a.points, graph.Point{Time: mid, Value: sums[i] / float64(counts[i]), Min: least[i], Max: most[i]})
		a.least, a.most = min(a.least, least[i]), max(a.most, most[i])
	}
	return a
}

// sinceFirst is aggregate from the first value on, if that is late in the time. It returns the
// time from which on it is, at least minZoom before the end.
func (d *Dashboard) sinceFirst(nodes []Node, param string, from, to time.Time, parts int) (aggregate, time.Time) {
	a := d.aggregate(nodes, param, from, to, parts)
	if len(a.points) == 0 {
		return a, from
	}
	if start := firstShown(a.points[0].Time, from, to); start.After(from) {
		return d.aggregate(nodes, param, start, to, parts), start
	}
	return a, from
}

// minZoom is the least time that a graph shows of values that began lately.
const minZoom = time.Minute

// firstShown returns the time at which a graph from one time to another begins whose first value
// is at first.
func firstShown(first, from, to time.Time) time.Time {
	whole := to.Sub(from)
	if whole <= minZoom || first.Sub(from) < whole/4 {
		return from
	}
	return to.Add(-max(to.Sub(first)*9/8, minZoom))
}

// inParts sets the mean of the points in each part of the time axis: NaN where there is none,
// unless one is not longer than keep before. It returns the last value.
func inParts(value []float64, points []history.Point, from time.Time, width, keep time.Duration) (last float64, ok bool) {
	for i := range value {
		value[i] = math.NaN()
	}
	part, sum, n := -1, 0.0, 0
	flush := func() {
		if n > 0 {
			value[part] = sum / float64(n)
		}
		sum, n = 0, 0
	}
	for i := range points {
		if !finite(&points[i].Value) {
			continue
		}
		at := min(int(points[i].Time.Sub(from)/width), len(value)-1)
		if at < 0 {
			continue
		}
		if at != part {
			flush()
			if ok && time.Duration(at-part)*width <= keep {
				for k := part + 1; k < at; k++ {
					value[k] = value[part]
				}
			}
			part = at
		}
		last, ok = points[i].Value.Float(), true
		sum += last
		n++
	}
	flush()
	return last, ok
}

// panel returns the graph of an aggregate with its table.
func (a *aggregate) panel(label, unit string, from, to time.Time) template.HTML {
	if len(a.points) == 0 {
		return ""
	}
	o := graph.Options{Label: label, Unit: unit, From: from, To: to, Gap: 3 * to.Sub(from) / bands}
	s := graph.Series{Label: "mean", Points: a.points, Band: a.nodes > 1}
	return graph.Line(o, s) + graph.Table(o, s)
}

// values returns the values for a small graph.
func (a *aggregate) values() []float64 {
	v := make([]float64, len(a.points))
	for i := range v {
		v[i] = a.points[i].Value
	}
	return v
}

// spark returns a small graph of the points of a series, of which some are left out if there
// are many. The extremes stay.
func spark(points []history.Point, o graph.Sparkline) template.HTML {
	var values []float64
	for i := range points {
		if finite(&points[i].Value) {
			values = append(values, points[i].Value.Float())
		}
	}
	if len(values) < 2 {
		return ""
	}
	o.Dot = true
	if o.Min == 0 && o.Max == 0 {
		o.Min, o.Max = 1, 0 // the line alone determines the range
	}
	return graph.Spark(o, thin(values, sparkValues))
}

// thin returns at most n values, in pairs of the least and the most of a part.
func thin(values []float64, n int) []float64 {
	if len(values) <= n {
		return values
	}
	parts := n / 2
	some := make([]float64, 0, n)
	for i := range parts {
		part := values[i*len(values)/parts : (i+1)*len(values)/parts]
		low, high := 0, 0
		for k, x := range part {
			if x < part[low] {
				low = k
			}
			if x > part[high] {
				high = k
			}
		}
		if low < high {
			some = append(some, part[low], part[high])
		} else {
			some = append(some, part[high], part[low])
		}
	}
	some[len(some)-1] = values[len(values)-1]
	return some
}

// cells returns the nodes of a cluster as cells: those in trouble, and of the others as many as
// there is room for.
func (d *Dashboard) cells(v *view, c *Cluster, nodes []Node, param string) template.HTML {
	some := nodes
	if len(nodes) > maxCells {
		some = slices.Clone(nodes)
		slices.SortStableFunc(some, func(a, b Node) int { return cmp.Compare(jobOrder[a.State], jobOrder[b.State]) })
		some = some[:maxCells]
	}
	levels := make([]float64, len(some))
	most := 0.0
	key := func(n *Node) nodeKey { return nodeKey{n.Cluster, n.Name} }
	t := tracker{windows: d.c.source.Windows}
	for i := range some {
		if last, _, ok := t.last(v.at, key(&some[i]), param); ok && finite(&last) {
			levels[i] = last.Float()
			most = max(most, levels[i])
		}
	}
	cells := make([]graph.Cell, len(some))
	for i := range some {
		n := &some[i]
		k := graph.Cell{Title: title(n.Name), Href: nodeLink(n.Cluster, n.Name)}
		if most > 0 {
			k.Level = levels[i] / most
		}
		switch n.State {
		case Failing:
			k.State, k.Title = graph.Bad, k.Title+": "+n.Reason
		case Silent:
			k.State, k.Title = graph.Silent, k.Title+": silent"
		}
		cells[i] = k
	}
	return graph.Cells(stateText(c), cells)
}

// stateText says how many nodes of a cluster are in which state.
func stateText(c *Cluster) string {
	text := plural(float64(c.Nodes), "node")
	for _, s := range []struct {
		n    int
		word string
	}{{c.Live, "well"}, {c.Failing, "failing"}, {c.Silent, "silent"}, {c.Ended, "ended"}} {
		if s.n > 0 {
			text += fmt.Sprintf(", %d %s", s.n, s.word)
		}
	}
	return text
}
