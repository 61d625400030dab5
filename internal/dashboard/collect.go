package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/glob"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/safetext"
)

// ErrUnknown is wrapped by the error for a cluster, node or parameter that is not in the
// window.
var ErrUnknown = errors.New("not known")

const (
	// viewEvery is the shortest time between two views: all readers within it get the same.
	viewEvery = time.Second
	// maxOverviewClusters and maxProblems are the most in an [Overview].
	maxOverviewClusters = 1000
	maxProblems         = 100
)

// view is what all pages and answers of one moment are made of. It does not change.
type view struct {
	at       time.Time
	overview Overview
	clusters []Cluster // in trouble first
	byName   map[string]*Cluster
	nodes    []Node // listed ones, sorted by cluster, and by name as people do
	failures []failure
	start    map[string]int // the first node of a cluster in nodes
}

// failure is a node that is failing.
type failure struct {
	node  *Node
	since time.Time
	ran   float64 // s, a job
}

// of returns the listed nodes of a cluster. A cluster may have an empty name.
func (v *view) of(cluster string) []Node {
	c := v.byName[cluster]
	if c == nil {
		return nil
	}
	first := v.start[cluster]
	return v.nodes[first : first+c.Nodes]
}

// collector makes views and remembers what they need of the past.
type collector struct {
	source Source
	clock  func() time.Time

	mu       sync.Mutex
	last     *view
	tracker  tracker
	samples  samples
	senders  senderRates
	listed   []Sender // those of the last sample, with rates
	troubles troubles
}

func newCollector(s Source, clock func() time.Time) *collector {
	c := &collector{source: s, clock: clock}
	c.tracker = tracker{windows: s.Windows, nodes: make(map[nodeKey]*nodeState)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sample(c.clock())
	return c
}

// run takes samples until ctx ends.
func (c *collector) run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.view()
		case <-ctx.Done():
			return
		}
	}
}

// view returns a view that is at most viewEvery old.
func (c *collector) view() *view {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if c.last != nil && now.Sub(c.last.at) < viewEvery && !now.Before(c.last.at) {
		return c.last
	}
	c.last = c.collect(now)
	return c.last
}

// sample takes the counts of now.
func (c *collector) sample(now time.Time) (outputs []Output) {
	s := sample{at: now}
	if c.source.Totals != nil {
		s.totals = c.source.Totals()
	}
	if c.source.Outputs != nil {
		outputs = c.source.Outputs()
		s.queued, s.dropped = make(map[string]int, len(outputs)), make(map[string]uint64, len(outputs))
		for _, o := range outputs {
			s.queued[o.Name] = o.Queued
			for _, n := range o.Dropped {
				s.dropped[o.Name] += n
			}
			if o.Error != "" {
				s.failed++
			}
		}
	}
	w := c.source.Windows.Stats()
	s.droppedSeries, s.droppedPoints = w.DroppedSeries, w.DroppedPoints
	c.samples.add(s)
	if c.source.Senders != nil && c.senders.due(now) {
		c.readSenders(now)
	}
	return outputs
}

// readSenders lists the senders anew.
func (c *collector) readSenders(now time.Time) []Sender {
	senders := c.source.Senders()
	if c.senders.fill(now, senders) {
		c.listed = senders
	}
	return senders
}

// collect makes a view of now.
func (c *collector) collect(now time.Time) *view {
	outputs := c.sample(now)
	infos := c.source.Windows.Nodes(now, "")
	slices.SortFunc(infos, func(a, b history.NodeInfo) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), CompareNames(a.Name, b.Name))
	})
	states := c.tracker.update(now, infos)
	v := &view{at: now, byName: make(map[string]*Cluster), start: make(map[string]int)}
	v.nodes = make([]Node, 0, len(infos))
	for i := range infos {
		v.addNode(&infos[i], states[i], now)
	}
	for i := range v.clusters { // they do not move any more
		v.byName[v.clusters[i].Name] = &v.clusters[i]
	}
	for i := range c.listed {
		if s := &c.listed[i]; s.Lossy {
			if k := v.byName[s.Cluster]; k != nil {
				k.Lossy++
			}
		}
	}
	slices.SortStableFunc(v.clusters, func(a, b Cluster) int { return cmp.Compare(trouble(&a), trouble(&b)) })
	for i := range v.clusters {
		v.byName[v.clusters[i].Name] = &v.clusters[i]
	}
	v.overview = c.overview(v, outputs)
	return v
}

// addNode adds a node, if it is listed. The nodes come sorted.
func (v *view) addNode(n *history.NodeInfo, s *nodeState, now time.Time) {
	state, listed := s.state(now)
	if !listed {
		return
	}
	if len(v.clusters) == 0 || v.clusters[len(v.clusters)-1].Name != n.Cluster {
		v.clusters = append(v.clusters, Cluster{Name: n.Cluster})
		v.start[n.Cluster] = len(v.nodes)
	}
	c := &v.clusters[len(v.clusters)-1]
	node := Node{
		Cluster: n.Cluster, Name: n.Name, State: state, Kind: s.kind, Series: n.Params,
		LastHeard: n.Received, Interval: s.usual.Seconds(),
	}
	c.Nodes++
	c.Series += n.Params
	if s.kind == KindJob {
		c.Jobs++
	}
	if n.Received.After(c.LastHeard) {
		c.LastHeard = n.Received
	}
	switch state {
	case Live:
		c.Live++
	case Silent:
		c.Silent++
	case Ended:
		c.Ended++
	case Failing:
		c.Failing++
		node.Reason = s.failed
	}
	v.nodes = append(v.nodes, node)
	if state == Failing {
		// The slice has room for all nodes, so the pointer stays valid.
		v.failures = append(v.failures, failure{&v.nodes[len(v.nodes)-1], s.since, s.ran})
	}
}

// trouble ranks a cluster: 0 for the worst.
func trouble(c *Cluster) int {
	switch {
	case c.Failing > 0:
		return 0
	case c.Silent > 0:
		return 1
	case c.Lossy > 0:
		return 2
	}
	return 3
}

// overview returns the answer of /api/v1/overview.
func (c *collector) overview(v *view, outputs []Output) Overview {
	now, recent, minute := c.samples.now(), &c.samples.recent[0], c.samples.before(time.Minute)
	w := c.source.Windows.Stats()
	o := Overview{
		Time: v.at, Host: c.source.Host, Program: c.source.Name, Version: c.source.Version,
		DatagramsPerSecond:  rate(recent, now, datagrams),
		ParametersPerSecond: rate(recent, now, parameters),
		LostRatio:           lostRatio(minute, now),
		RefusedPerMinute:    60 * rate(minute, now, refused),
		Totals:              now.totals,
		Outputs:             outputs,
		ClusterCount:        len(v.clusters),
		NodeCount:           len(v.nodes),
		Clusters:            v.clusters[:min(len(v.clusters), maxOverviewClusters)],
		History: History{
			SpanSeconds: w.Span.Seconds(), Series: w.Series, Points: w.Points, Bytes: w.Bytes, MaxBytes: w.MaxBytes,
			DroppedPoints: w.DroppedPoints, DroppedSeries: w.DroppedSeries,
		},
	}
	o.Problems = c.problems(v, &o)
	if o.Outputs == nil {
		o.Outputs = []Output{} // an empty array in JSON
	}
	if o.Clusters == nil {
		o.Clusters = []Cluster{}
	}
	return o
}

func datagrams(t *Totals) uint64  { return t.Datagrams }
func parameters(t *Totals) uint64 { return t.Parameters }
func refused(t *Totals) uint64    { return t.Refused }

// Overview returns the state of now, which is shared: do not change it.
func (d *Dashboard) Overview() *Overview { return &d.c.view().overview }

// Clusters returns all clusters, those in trouble first.
func (d *Dashboard) Clusters() *ClusterList {
	v := d.c.view()
	return &ClusterList{Time: v.at, Total: len(v.clusters), Clusters: v.clusters}
}

// Nodes returns the nodes of a cluster, of all for "". The error wraps [ErrUnknown].
func (d *Dashboard) Nodes(cluster string) (*NodeList, error) {
	v := d.c.view()
	nodes := v.nodes
	if cluster != "" {
		name, ok := v.cluster(cluster)
		if !ok {
			return nil, unknown("cluster", cluster)
		}
		nodes = v.of(name)
	}
	return &NodeList{Time: v.at, Total: len(nodes), Nodes: nodes}, nil
}

func unknown(kind, name string) error {
	return fmt.Errorf("%s %s is %w", kind, safetext.Quote(name), ErrUnknown)
}

// cluster returns the name of the cluster that ref stands for.
func (v *view) cluster(ref string) (string, bool) {
	if v.byName[ref] != nil {
		return ref, true
	}
	if strings.HasPrefix(ref, digest) {
		for i := range v.clusters {
			if name := v.clusters[i].Name; isRef(ref, name) {
				return name, true
			}
		}
	}
	return ref, false
}

// findNode returns the index of a node in the list of a cluster.
func findNode(nodes []Node, name string) (int, bool) {
	return slices.BinarySearchFunc(nodes, name, func(n Node, name string) int { return CompareNames(n.Name, name) })
}

// resolve returns the names that references to a cluster and a node stand for, also of a node
// that is not listed any more but has values in the window.
func (c *collector) resolve(v *view, cluster, node string) (string, string, error) {
	infos := v.of(cluster)
	if name, ok := v.cluster(cluster); ok {
		cluster, infos = name, v.of(name)
	}
	if i, ok := findNode(infos, node); ok {
		return cluster, infos[i].Name, nil
	}
	found := false // the cluster
	for _, n := range c.source.Windows.Nodes(v.at, "") {
		if isRef(cluster, n.Cluster) {
			if found = true; isRef(node, n.Name) {
				return n.Cluster, n.Name, nil
			}
		}
	}
	if !found {
		return "", "", unknown("cluster", cluster)
	}
	return "", "", unknown("node", node)
}

// Params returns the parameters of a node, or for "" those of all listed nodes of a cluster,
// whose names match a pattern, sorted. The error wraps [ErrUnknown].
func (d *Dashboard) Params(cluster, node, pattern string, limit int) (*ParamList, error) {
	v := d.c.view()
	list := &ParamList{Time: v.at, Params: []Param{}}
	if node != "" {
		cluster, node, err := d.c.resolve(v, cluster, node)
		if err != nil {
			return nil, err
		}
		d.addParams(list, v.at, cluster, node, pattern, limit)
		return list, nil
	}
	name, ok := v.cluster(cluster)
	if !ok {
		return nil, unknown("cluster", cluster)
	}
	for _, n := range v.of(name) {
		d.addParams(list, v.at, n.Cluster, n.Name, pattern, limit)
	}
	return list, nil
}

func (d *Dashboard) addParams(list *ParamList, now time.Time, cluster, node, pattern string, limit int) {
	infos := d.c.source.Windows.Series(now, cluster, node)
	infos = slices.DeleteFunc(infos, func(s history.SeriesInfo) bool { return pattern != "" && !matches(pattern, s.Last.Name) })
	slices.SortFunc(infos, func(a, b history.SeriesInfo) int { return CompareNames(a.Last.Name, b.Last.Name) })
	list.Total += len(infos)
	for i := range infos {
		if limit > 0 && len(list.Params) >= limit {
			return
		}
		list.Params = append(list.Params, d.param(&infos[i]))
	}
}

func (d *Dashboard) param(s *history.SeriesInfo) Param {
	p := Param{
		Cluster: s.Cluster, Node: s.Node, Name: s.Last.Name, Type: s.Last.Type().String(), Value: jsonValue(&s.Last),
		LastHeard: s.Received, Points: s.Points,
	}
	p.Unit, p.Meaning = d.units(s.Last.Name)
	if !s.Sent.IsZero() {
		p.Sent = &s.Sent
	}
	return p
}

func (d *Dashboard) units(param string) (unit, meaning string) {
	if d.c.source.Units == nil {
		return "", ""
	}
	return d.c.source.Units(param)
}

// matches reports whether a name matches a pattern, regardless of case. A pattern without * and
// ? matches names that contain it.
func matches(pattern, name string) bool {
	pattern = strings.ToLower(pattern)
	if !strings.ContainsAny(pattern, `*?\`) {
		return strings.Contains(strings.ToLower(name), pattern)
	}
	return glob.Match(pattern, strings.ToLower(name))
}

// CompareNames orders names as people do: wn2 before wn10.
func CompareNames(a, b string) int {
	for i, j := 0, 0; ; {
		if i >= len(a) || j >= len(b) {
			return cmp.Or(cmp.Compare(len(a)-i, len(b)-j), cmp.Compare(a, b))
		}
		if isDigit(a[i]) && isDigit(b[j]) {
			x, y := digits(a[i:]), digits(b[j:])
			i, j = i+len(x), j+len(y)
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
				return c
			}
			continue
		}
		if a[i] != b[j] {
			return cmp.Compare(a[i], b[j])
		}
		i, j = i+1, j+1
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits returns the digits with which s begins.
func digits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

// Series returns the values of a parameter from one time to another; a zero time is the
// beginning or the end of the window. The error wraps [ErrUnknown].
func (d *Dashboard) Series(cluster, node, param string, from, to time.Time) (*Series, error) {
	v := d.c.view()
	s, points, err := d.points(v, cluster, node, param, from, to)
	if err != nil {
		return nil, err
	}
	s.Points = samplesOf(points)
	return s, nil
}

func samplesOf(points []history.Point) []Sample {
	all := make([]Sample, len(points))
	for i := range points {
		all[i] = Sample{points[i].Time, jsonValue(&points[i].Value)}
	}
	return all
}

// points returns a series without its values, and the values.
func (d *Dashboard) points(v *view, cluster, node, param string, from, to time.Time) (*Series, []history.Point, error) {
	cluster, node, err := d.c.resolve(v, cluster, node)
	if err != nil {
		return nil, nil, err
	}
	w := d.c.source.Windows
	if to.IsZero() {
		to = v.at.Add(viewEvery) // what was received since the view counts too
	}
	if from.IsZero() {
		from = v.at.Add(-w.Stats().Span)
	}
	points, ok := w.Points(nil, cluster, node, param, from, to)
	if !ok && strings.HasPrefix(param, digest) {
		for _, s := range w.Series(v.at, cluster, node) {
			if isRef(param, s.Last.Name) {
				param = s.Last.Name
				points, ok = w.Points(nil, cluster, node, param, from, to)
				break
			}
		}
	}
	if !ok {
		return nil, nil, unknown("parameter", param)
	}
	s := &Series{Cluster: cluster, Node: node, Name: param, From: seconds(from), To: seconds(to)}
	s.Unit, s.Meaning = d.units(param)
	s.summarize(points)
	return s, points, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// summarize sets the smallest, the mean and the largest of the numbers.
func (s *Series) summarize(points []history.Point) {
	var least, sum, most float64
	n := 0
	for i := range points {
		if !finite(&points[i].Value) {
			continue
		}
		x := points[i].Value.Float()
		if n == 0 {
			least, most = x, x
		}
		least, most = min(least, x), max(most, x)
		n++
		sum += (x - sum) / float64(n) // a mean, which does not overflow
	}
	if n > 0 {
		s.Min, s.Mean, s.Max = &least, &sum, &most
	}
}

// Senders returns the senders, sorted by address and instance.
func (d *Dashboard) Senders() *SenderList {
	v := d.c.view()
	list := &SenderList{Time: v.at, Senders: []Sender{}}
	if d.c.source.Senders == nil {
		return list
	}
	d.c.mu.Lock()
	senders := d.c.readSenders(v.at)
	d.c.mu.Unlock()
	list.Total, list.Senders = len(senders), append(list.Senders, senders...)
	return list
}
