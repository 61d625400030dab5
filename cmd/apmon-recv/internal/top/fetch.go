package top

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/dashboard"
)

const (
	sparkSpan  = 10 * time.Minute
	sparkWidth = 12              // columns
	sparkEvery = 5 * time.Second // the shortest time between two requests for a series
	maxSparks  = 2000            // series that are kept
	// fewNodes is the most nodes of a cluster whose values are asked for by parameter, and not by node.
	fewNodes = 100
	// autoOpen is the most nodes that are shown at the start, beyond those of the first cluster.
	autoOpen = 200
)

// id names a node.
type id struct{ cluster, node string }

// cellID names a parameter of a node.
type cellID struct {
	id
	param string
}

// value is the last value of a parameter.
type value struct {
	dashboard.Param
	number float64 // NaN for a text
}

// spark is the recent past of a parameter.
type spark struct {
	values []float64 // sparkWidth values, NaN for none
	heard  time.Time // of the value that it ends with
	asked  time.Time
}

// group is a cluster of the list.
type group struct {
	dashboard.Cluster
	total   int              // nodes, also those that are not listed
	nodes   []dashboard.Node // nil unless it is open
	order   []int            // of nodes, see byNumber
	columns []string         // parameters
}

// want is what the view needs.
type want struct {
	open    map[string]bool     // clusters, where somebody decided
	all     bool                // open all clusters with at most maxEntries nodes in sum: there is a filter
	columns map[string][]string // of clusters, likewise
	sorted  map[string]bool     // clusters whose values all count
	visible []id
	sparks  int // columns with a graph
	node    id  // that is open, if not empty
	params  []string
}

// state is what is known. Each refresh makes a new one.
type state struct {
	at       time.Time // the time of the source
	asked    time.Time // when that was, by our clock
	overview *dashboard.Overview
	groups   []group
	values   map[cellID]value
	sparks   map[cellID]spark
	params   []dashboard.Param // of the open node
	gone     bool              // the open node does not exist any more
	err      error             // of the last request
	since    time.Time         // since when it fails
}

// refresh returns the state of now. If the source fails, it is the last one with the error.
func refresh(ctx context.Context, src Source, last *state, w *want, now time.Time) *state {
	s := &state{at: now, asked: now, values: make(map[cellID]value), sparks: make(map[cellID]spark)}
	err := s.read(ctx, src, last, w)
	if err == nil {
		return s
	}
	failed := *last
	failed.err, failed.since = err, last.since
	if last.overview != nil {
		failed.at, failed.asked = last.at.Add(now.Sub(last.asked)), now
	}
	if last.err == nil {
		failed.since = now
	}
	return &failed
}

// read asks the source for what is wanted.
func (s *state) read(ctx context.Context, src Source, last *state, w *want) error {
	var err error
	if s.overview, err = src.Overview(ctx); err != nil {
		return err
	}
	s.at = s.overview.Time
	shown := 0
	for i, c := range s.overview.Clusters {
		g := group{Cluster: c, total: c.Nodes}
		open, decided := w.open[c.Name]
		if !decided {
			open = i == 0 || shown+c.Nodes <= autoOpen
		}
		if w.all {
			open = shown+c.Nodes <= maxEntries
		}
		if open {
			shown += c.Nodes
			if err := s.readGroup(ctx, src, last, w, &g); err != nil && !errors.Is(err, errGone) && !errors.Is(err, dashboard.ErrUnknown) {
				return err
			}
		}
		s.groups = append(s.groups, g)
	}
	if w.node.cluster != "" || w.node.node != "" {
		err := s.readNode(ctx, src, last, w)
		switch s.gone = errors.Is(err, errGone) || errors.Is(err, dashboard.ErrUnknown); {
		case s.gone:
			s.params = last.params
		case err != nil:
			return err
		}
	}
	return nil
}

// readGroup reads the nodes of a cluster, and the values of its columns.
func (s *state) readGroup(ctx context.Context, src Source, last *state, w *want, g *group) error {
	l, err := src.Nodes(ctx, g.Name)
	if err != nil {
		return err
	}
	g.total = l.Total
	if i := slices.IndexFunc(last.groups, func(o group) bool { return o.Name == g.Name }); i >= 0 {
		g.order = last.groups[i].order
	}
	g.nodes, g.order = byNumber(l.Nodes, g.order)
	if len(g.nodes) == 0 {
		return nil
	}
	if g.columns = w.columns[g.Name]; g.columns == nil {
		params, err := src.Params(ctx, g.Name, firstOf(g.nodes), "")
		if err != nil {
			return err
		}
		g.columns = defaultColumns(params.Params)
	}
	if len(g.nodes) <= fewNodes || w.sorted[g.Name] {
		for _, column := range g.columns {
			if err := s.addValues(src.Params(ctx, g.Name, "", column)); err != nil {
				return err
			}
		}
	}
	heard := make(map[string]time.Time)
	for i := range g.nodes {
		heard[g.nodes[i].Name] = g.nodes[i].LastHeard
	}
	var visible []string
	for _, v := range w.visible {
		at, known := heard[v.node]
		if v.cluster != g.Name || !known {
			continue
		}
		visible = append(visible, v.node)
		if len(g.nodes) <= fewNodes || w.sorted[g.Name] {
			continue
		}
		if !s.keepValues(last, v, at, g.columns) {
			if err := s.addValues(src.Params(ctx, g.Name, v.node, "")); err != nil && !errors.Is(err, errGone) {
				return err
			}
		}
	}
	for i, column := range g.columns {
		if i < w.sparks {
			if err := s.readSparks(ctx, src, last, g.Name, column, visible, heard); err != nil {
				return err
			}
		}
	}
	return nil
}

// byNumber returns nodes in the natural order of their names, which is wn2 before wn10, and the
// indexes of them. The order of the last time saves sorting.
func byNumber(nodes []dashboard.Node, order []int) ([]dashboard.Node, []int) {
	sorted := make([]dashboard.Node, len(nodes))
	arrange := func() {
		for i, k := range order {
			sorted[i] = nodes[k]
		}
	}
	if len(order) == len(nodes) {
		if arrange(); slices.IsSortedFunc(sorted, func(a, b dashboard.Node) int { return dashboard.CompareNames(a.Name, b.Name) }) {
			return sorted, order
		}
	}
	order = make([]int, len(nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return dashboard.CompareNames(nodes[a].Name, nodes[b].Name) })
	arrange()
	return sorted, order
}

// firstOf returns the node that was heard last.
func firstOf(nodes []dashboard.Node) string {
	return slices.MaxFunc(nodes, func(a, b dashboard.Node) int {
		return cmp.Or(a.LastHeard.Compare(b.LastHeard), cmp.Compare(b.Name, a.Name))
	}).Name
}

// addValues adds the values of an answer.
func (s *state) addValues(l *dashboard.ParamList, err error) error {
	if err != nil {
		return err
	}
	for _, p := range l.Params {
		s.values[cellID{id{p.Cluster, p.Node}, p.Name}] = value{p, number(p.Value)}
	}
	return nil
}

// keepValues takes over the values of a node that has not been heard since. It reports whether
// it could.
func (s *state) keepValues(last *state, n id, heard time.Time, columns []string) bool {
	kept := false
	for _, column := range columns {
		if v, ok := last.values[cellID{n, column}]; ok && !v.LastHeard.Before(heard) {
			s.values[cellID{n, column}] = v
			kept = true
		}
	}
	return kept
}

// readSparks reads the recent past of a parameter of some nodes.
func (s *state) readSparks(ctx context.Context, src Source, last *state, cluster, param string, nodes []string, heard map[string]time.Time) error {
	var need []string
	for _, n := range nodes {
		c := cellID{id{cluster, n}, param}
		old, ok := last.sparks[c]
		if ok && len(s.sparks) < maxSparks {
			s.sparks[c] = old
		}
		// The graph of a silent node moves too.
		if !ok || s.at.Sub(old.asked) >= sparkEvery && (heard[n].After(old.heard) || s.at.Sub(old.asked) >= sparkSpan/sparkWidth) {
			need = append(need, n)
		}
	}
	for some := range slices.Chunk(need, maxSeries) {
		series, err := src.Series(ctx, cluster, param, some, s.at.Add(-sparkSpan))
		if errors.Is(err, errGone) { // one of them: the others come with the next refresh
			continue
		}
		if err != nil {
			return err
		}
		for i := range series {
			n := series[i].Node
			s.sparks[cellID{id{cluster, n}, param}] = spark{buckets(series[i].Points, s.at), heard[n], s.at}
		}
	}
	return nil
}

// readNode reads the parameters of the open node.
func (s *state) readNode(ctx context.Context, src Source, last *state, w *want) error {
	l, err := src.Params(ctx, w.node.cluster, w.node.node, "")
	if err != nil {
		return err
	}
	s.params = l.Params
	heard := make(map[string]time.Time)
	for _, p := range l.Params {
		heard[p.Name] = p.LastHeard
	}
	for _, name := range w.params {
		at := map[string]time.Time{w.node.node: heard[name]}
		if err := s.readSparks(ctx, src, last, w.node.cluster, name, []string{w.node.node}, at); err != nil {
			return err
		}
	}
	return nil
}

// buckets returns the means of the last sparkSpan in sparkWidth parts, NaN for none. A part
// between two values that are not far apart has the one before it.
func buckets(points []dashboard.Sample, now time.Time) []float64 {
	const part = sparkSpan / sparkWidth
	values := make([]float64, sparkWidth)
	counts := make([]int, sparkWidth)
	from := now.Add(-sparkSpan)
	for _, p := range points {
		v := number(p.Value)
		i := int(p.Time.Sub(from) / part)
		if v-v != 0 || p.Time.Before(from) || i < 0 { // NaN, infinite, or before
			continue
		}
		i = min(i, sparkWidth-1) // received a moment after
		values[i] += v
		counts[i]++
	}
	before := -1
	for i := range values {
		if counts[i] == 0 {
			values[i] = math.NaN()
			continue
		}
		values[i] /= float64(counts[i])
		if gap := i - before - 1; before >= 0 && gap > 0 && gap <= 3 {
			for k := before + 1; k < i; k++ {
				values[k] = values[before]
			}
		}
		before = i
	}
	if before >= 0 && before == sparkWidth-2 { // the next value is not due yet
		values[sparkWidth-1] = values[before]
	}
	return values
}

// number returns a value as a number, NaN for a text.
func number(v dashboard.Value) float64 {
	var f float64
	if len(v) == 0 || v[0] == '"' || json.Unmarshal(v, &f) != nil {
		switch string(v) {
		case `"+Inf"`:
			return math.Inf(1)
		case `"-Inf"`:
			return math.Inf(-1)
		}
		return math.NaN()
	}
	return f
}

// maxColumns is the most parameters in the list of nodes.
const maxColumns = 6

// defaultColumns returns the columns of a cluster, given the parameters of one of its nodes.
func defaultColumns(params []dashboard.Param) []string {
	has := make(map[string]bool)
	var names []string
	for _, p := range params {
		if p.Type != "string" && !has[p.Name] {
			has[p.Name] = true
			names = append(names, p.Name)
		}
	}
	return dashboard.Columns(names, maxColumns)
}
