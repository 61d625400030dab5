package history

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Defaults of [WindowOptions].
const (
	DefaultSpan = time.Hour
	// DefaultWindowBytes holds an hour of 10 000 series with a value each 15 s.
	DefaultWindowBytes = 64 << 20
)

// WindowOptions are the settings of [Windows].
type WindowOptions struct {
	Span     time.Duration // how long values are kept; DefaultSpan if not positive
	MaxBytes int64         // the most memory, in bytes; DefaultWindowBytes if not positive
}

// Windows keeps the values that were received of each parameter within a time. Use
// [NewWindows]. Its methods are safe for concurrent use.
//
// The time is that of receipt. If the clock was set back by more than a minute, values with a
// time to come are dropped: the last ones of a series at once, others as if they were too old.
//
// Values are exact, and keep their type. Of a text only changes are kept, at most 100 and
// 64 KiB for a series, or one that is longer. Within an interval of [WindowOptions.Span]/3600,
// which is 1 s for an hour, three values of a series are kept: the minimum, the maximum and the
// last, or of texts the first two and the last. So a series with thousands of values per second
// takes 130 KB in an hour.
//
// If the memory does not suffice, the oldest values are dropped first, whatever their series,
// so that all series go back equally far. A series is dropped when its last value is older
// than all that is kept of the others. Both are counted.
type Windows struct {
	table
	span, maxBytes               atomic.Int64 // span in ms
	values                       atomic.Int64
	droppedValues, droppedSeries atomic.Int64
	ages                         ages
}

const (
	// intervals is the number of intervals in the span.
	intervals = 3600
	// clockStep is the time in ms by which the clock must be set back until values of the
	// future are recognized. A smaller step has no effect but that times are equal.
	clockStep = int64(time.Minute / time.Millisecond)
	// A series becomes young again in ages if it is older than this part of the span.
	agesPart = 64
)

// NewWindows returns empty windows.
func NewWindows(o WindowOptions) *Windows {
	w := new(Windows)
	w.init()
	w.Configure(o)
	return w
}

// Configure changes the settings.
func (w *Windows) Configure(o WindowOptions) {
	w.span.Store(max(orDefault(int64(o.Span), int64(DefaultSpan))/int64(time.Millisecond), 1))
	w.maxBytes.Store(orDefault(o.MaxBytes, DefaultWindowBytes))
	w.fit()
}

// fit drops the oldest values until the rest fits into the memory.
func (w *Windows) fit() {
	for w.bytes.Load() > w.maxBytes.Load() && w.dropOldest() {
	}
}

// Offer adds the values of one datagram. The time is the one that the datagram carries, in
// Unix seconds; 0 is none. The strings are copied.
func (w *Windows) Offer(cluster, node string, params []xdr.Param, received time.Time, sent int32) {
	if len(params) == 0 {
		return
	}
	var c change
	sh := w.shard(cluster, node)
	sh.mu.Lock()
	n := sh.nodes[nodeKey{cluster, node}]
	if n == nil {
		n = w.addNode(sh, cluster, node)
		n.cost = nodeExtra + int32(len(cluster)+len(node))
		c.bytes += nodeCost + int64(n.cost)
	}
	w.update(sh, n, params, received, sent, &c)
	w.count(&c)
	sh.mu.Unlock()
	// Runs end at most as fast as new ones begin: two for each keep up.
	for range 2 * c.added {
		if !w.dropExpired(received.UnixMilli()) {
			break
		}
	}
	w.fit()
}

// update adds values of a node.
func (w *Windows) update(sh *shard, n *Node, params []xdr.Param, received time.Time, sent int32, c *change) {
	now, at := received.UnixNano(), received.UnixMilli()
	n.Received = now
	rejuvenate := w.span.Load() / agesPart
	slot := n.slot
	for i := range params {
		p := &params[i]
		e := sh.find(n, slot, p.Name)
		if e == nil {
			e = w.addWindow(sh, n, p.Name, at, c)
			*slot = e
		}
		slot = &e.next
		e.Received, e.Time = now, sent
		win := e.mark.(*window)
		if d := at - win.link.at; d > rejuvenate || d < -clockStep {
			w.ages.add(&win.link, at)
		}
		w.keep(win, p, at, c)
	}
	n.slot = slot
}

// addWindow makes a series.
func (w *Windows) addWindow(sh *shard, n *Node, name string, at int64, c *change) *Series {
	cost := windowCost + int64(len(name))
	e := w.addSeries(sh, n, name, cost)
	win := &window{sh: sh, node: n, series: e}
	win.of = win
	e.mark = win
	w.ages.add(&win.link, at)
	w.series.Add(1)
	c.added++
	c.bytes += cost
	return e
}

// count adds a change to the counts.
func (w *Windows) count(c *change) {
	if c.bytes != 0 {
		w.bytes.Add(c.bytes)
	}
	if c.values != 0 {
		w.values.Add(c.values)
	}
}

// goneName is the name of a series that was dropped. No datagram has a name of this length, so
// that [shard.find] does not find the series where the order of a node leads to it.
var goneName = sync.OnceValue(func() string { return strings.Repeat("x", xdr.MaxString+1) })

// drop removes a series. The caller holds the shard's lock.
func (w *Windows) drop(win *window) {
	c := change{bytes: goneCost - win.series.cost}
	for win.head != nil {
		w.dropHead(win, &c)
	}
	w.ages.remove(&win.link)
	sh, n, e := win.sh, win.node, win.series
	delete(sh.series, seriesKey{n, e.Name})
	e.Name, e.mark = goneName(), nil
	w.series.Add(-1)
	w.count(&c)
	// Lists are rebuilt when half of their entries are gone, which takes no long time for each.
	if n.gone++; 2*int(n.gone) < len(n.series) {
		return
	}
	n.removeSeries(func(e *Series) bool { return e.mark == nil })
	w.bytes.Add(-goneCost * int64(n.gone))
	n.gone = 0
	if len(n.series) > 0 {
		sh.shrink()
	} else if sh.empty++; 2*int(sh.empty) >= len(sh.list) {
		w.removeEmpty(sh)
		sh.empty = 0
	}
}

// dropOldest drops the oldest values, or the series that has been silent longest if that is
// older. It returns false if there is nothing to drop.
func (w *Windows) dropOldest() bool {
	l, at := w.ages.first()
	if l == nil {
		return false
	}
	sh := l.of.sh
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !w.ages.isFirst(l, at) {
		return true // another goroutine was faster
	}
	if last := l.of.received(); l.kind == wholeSeries && last > at {
		w.ages.add(l, last)
		return true
	}
	before := l.of.values
	if l.kind == wholeSeries {
		w.droppedSeries.Add(1)
	}
	w.dropLink(l)
	w.droppedValues.Add(int64(before - l.of.values))
	return true
}

// dropExpired drops the oldest values, or series, if they are older than the span, or have a
// time to come. It returns false if there is nothing to drop.
func (w *Windows) dropExpired(now int64) bool {
	l, at := w.ages.first()
	expired := func(at int64) bool { return at < now-w.span.Load() || at > now+clockStep }
	if l == nil || !expired(at) {
		return false
	}
	sh := l.of.sh
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !w.ages.isFirst(l, at) {
		return true // another goroutine was faster
	}
	if last := l.of.received(); l.kind == wholeSeries && !expired(last) {
		w.ages.add(l, last)
		return true
	}
	w.dropLink(l)
	return true
}

// received returns when the last value of the series was received, in Unix ms.
func (win *window) received() int64 { return win.series.Received / int64(time.Millisecond) }

// dropLink drops a run, which is the oldest of its series, or a series. The caller holds the
// shard's lock.
func (w *Windows) dropLink(l *link) {
	if l.kind == wholeSeries {
		w.drop(l.of)
		return
	}
	var c change
	w.dropHead(l.of, &c)
	w.count(&c)
}

// Forget removes the nodes for which gone is true.
func (w *Windows) Forget(gone func(cluster, node string) bool) {
	for i := range w.shards {
		sh := &w.shards[i]
		sh.mu.Lock()
		for _, n := range slices.Clone(sh.list) {
			if !gone(n.Cluster, n.Name) {
				continue
			}
			for _, e := range slices.Clone(n.series) {
				if e.mark != nil {
					w.drop(e.mark.(*window))
				}
			}
		}
		w.removeEmpty(sh)
		sh.empty = 0
		sh.mu.Unlock()
	}
}

// NodeInfo describes a node of a cluster.
type NodeInfo struct {
	Cluster, Name string
	Params        int       // series
	Received      time.Time // when the last datagram was received
}

// SeriesInfo is the last value of a parameter.
type SeriesInfo struct {
	Cluster, Node string
	Last          xdr.Param // name and exact value; a copy
	Received      time.Time // when it was received
	Sent          time.Time // the time that the datagram carries, zero if none
	Points        int       // values in the window, for a text its changes
}

// Point is a value of a series.
type Point struct {
	Time  time.Time // when it was received, with a resolution of 1 ms
	Value xdr.Param // the name is empty
}

// Nodes returns the nodes of all clusters with a value in the window, sorted by cluster and
// name. A cluster that is not empty restricts them to one cluster.
func (w *Windows) Nodes(now time.Time, cluster string) []NodeInfo {
	var all []NodeInfo
	w.eachNode(now, func(n *Node) {
		if cluster == "" || n.Cluster == cluster {
			all = append(all, NodeInfo{n.Cluster, n.Name, len(n.series) - int(n.gone), time.Unix(0, n.Received)})
		}
	})
	slices.SortFunc(all, func(a, b NodeInfo) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// eachNode calls f for each node with a value in the window, with the lock of its shard held.
func (w *Windows) eachNode(now time.Time, f func(*Node)) {
	for w.dropExpired(now.UnixMilli()) {
	}
	from := w.from(now)
	for i := range w.shards {
		w.shards[i].each(func(n *Node) {
			if n.Received >= from && len(n.series) > int(n.gone) {
				f(n)
			}
		})
	}
}

func (sh *shard) each(f func(*Node)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, n := range sh.list {
		f(n)
	}
}

// from returns the beginning of the window, in Unix nanoseconds.
func (w *Windows) from(now time.Time) int64 {
	return now.UnixNano() - w.span.Load()*int64(time.Millisecond)
}

// Series returns the series of a node, in the order in which they were first received.
func (w *Windows) Series(now time.Time, cluster, node string) []SeriesInfo {
	var all []SeriesInfo
	sh := w.shard(cluster, node)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := sh.nodes[nodeKey{cluster, node}]; n != nil {
		n.eachWindow(w.from(now), func(info *SeriesInfo) { all = append(all, *info) })
	}
	return all
}

// EachSeries calls f for the series of every node. The info is valid during the call only;
// meanwhile values for a part of the nodes wait.
func (w *Windows) EachSeries(now time.Time, f func(*SeriesInfo)) {
	from := w.from(now)
	w.eachNode(now, func(n *Node) { n.eachWindow(from, f) })
}

// eachWindow calls f for the series of a node with a value since a time, in Unix nanoseconds.
func (n *Node) eachWindow(from int64, f func(*SeriesInfo)) {
	info := SeriesInfo{Cluster: n.Cluster, Node: n.Name}
	for _, e := range n.series {
		if e.mark == nil || e.Received < from {
			continue
		}
		win := e.mark.(*window)
		info.Last, info.Received, info.Sent = win.lastValue(), time.Unix(0, e.Received), time.Time{}
		if e.Time != 0 {
			info.Sent = time.Unix(int64(e.Time), 0)
		}
		info.Points = win.since(from / int64(time.Millisecond))
		f(&info)
	}
}

// Points appends the values of a series from one time to another, both included, oldest
// first. Of a text these are its changes. It returns false if there is no such series.
func (w *Windows) Points(to []Point, cluster, node, param string, from, until time.Time) ([]Point, bool) {
	sh := w.shard(cluster, node)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.series[seriesKey{sh.nodes[nodeKey{cluster, node}], param}]
	if e == nil {
		return to, false
	}
	first := len(to)
	for r := e.mark.(*window).head; r != nil; r = r.next {
		to = r.appendTo(to, from.UnixMilli(), until.UnixMilli())
	}
	// They are in order unless the clock was set back.
	if compare := func(a, b Point) int { return a.Time.Compare(b.Time) }; !slices.IsSortedFunc(to[first:], compare) {
		slices.SortStableFunc(to[first:], compare)
	}
	return to, true
}

// WindowStats are the counts of [Windows].
type WindowStats struct {
	Nodes, Series, Points int           // kept now
	Bytes, MaxBytes       int64         // of memory
	Span                  time.Duration // see [WindowOptions]
	// DroppedPoints counts the values, and DroppedSeries the series, that were dropped as the
	// memory did not suffice.
	DroppedPoints, DroppedSeries uint64
}

// Stats returns the counts.
func (w *Windows) Stats() WindowStats {
	return WindowStats{
		Nodes: int(w.nodes.Load()), Series: int(w.series.Load()), Points: int(w.values.Load()),
		Bytes: w.bytes.Load(), MaxBytes: w.maxBytes.Load(), Span: time.Duration(w.span.Load()) * time.Millisecond,
		DroppedPoints: uint64(w.droppedValues.Load()), DroppedSeries: uint64(w.droppedSeries.Load()),
	}
}
