package history

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// shards is the number of shards, a power of two. A reader holds the lock of one at a time.
const shards = 256

// table has the nodes and their series, in shards: the part that [Store] and [Windows] have in
// common.
type table struct {
	seed                 maphash.Seed
	shards               [shards]shard
	series, bytes, nodes atomic.Int64
}

type shard struct {
	mu    sync.Mutex
	nodes map[nodeKey]*Node
	list  []*Node // in the order in which they were made
	// The series by node and name, for a datagram that does not repeat the order.
	series map[seriesKey]*Series
	// The most entries of the maps since they were made.
	mostNodes, mostSeries int32
	empty                 int32 // nodes without series, counted by Windows
}

type nodeKey struct{ cluster, name string }

type seriesKey struct {
	node *Node
	name string
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].nodes = make(map[nodeKey]*Node)
		t.shards[i].series = make(map[seriesKey]*Series)
	}
}

// shard returns the shard of a node.
func (t *table) shard(cluster, node string) *shard {
	h := maphash.String(t.seed, cluster) ^ bits.RotateLeft64(maphash.String(t.seed, node), 32)
	return &t.shards[h%shards]
}

// addNode makes a node. The caller holds the shard's lock.
func (t *table) addNode(sh *shard, cluster, name string) *Node {
	n := &Node{Cluster: strings.Clone(cluster), Name: strings.Clone(name)}
	n.slot = &n.first
	sh.nodes[nodeKey{n.Cluster, n.Name}] = n
	sh.mostNodes = max(sh.mostNodes, int32(len(sh.nodes)))
	sh.list = append(sh.list, n)
	t.nodes.Add(1)
	return n
}

// addSeries makes a series of a node. The caller holds the shard's lock.
func (t *table) addSeries(sh *shard, n *Node, name string, cost int64) *Series {
	e := &Series{Name: strings.Clone(name), cost: cost}
	n.series = append(n.series, e)
	sh.series[seriesKey{n, e.Name}] = e
	sh.mostSeries = max(sh.mostSeries, int32(len(sh.series)))
	return e
}

// find returns the series of a node with this name, nil if there is none. The slot is the
// place of the series that is expected, and is set to what is found.
func (sh *shard) find(n *Node, slot **Series, name string) *Series {
	if e := *slot; e != nil && e.Name == name {
		return e
	}
	return sh.lookUp(n, slot, name)
}

func (sh *shard) lookUp(n *Node, slot **Series, name string) *Series {
	e := sh.series[seriesKey{n, name}]
	if e != nil {
		*slot = e
	}
	return e
}

// removeSeries removes those series of a node for which gone is true from its list. The caller
// holds the shard's lock.
func (n *Node) removeSeries(gone func(*Series) bool) {
	n.series = slices.DeleteFunc(n.series, func(e *Series) bool {
		// Forget the order: it may lead through a series that is gone.
		e.next = nil
		return gone(e)
	})
	n.first, n.slot = nil, &n.first
}

// removeEmpty removes the nodes without series. The caller holds the shard's lock.
func (t *table) removeEmpty(sh *shard) {
	kept := sh.list[:0]
	for _, n := range sh.list {
		if len(n.series) > 0 {
			kept = append(kept, n)
			continue
		}
		delete(sh.nodes, nodeKey{n.Cluster, n.Name})
		t.bytes.Add(-nodeCost - int64(n.cost))
		t.nodes.Add(-1)
	}
	clear(sh.list[len(kept):])
	sh.list = kept
	sh.shrink()
}

// shrink makes the maps anew that have far fewer entries than they had: a map keeps its memory
// otherwise, and a sender of many names could fill those of one shard after another.
func (sh *shard) shrink() {
	sh.nodes, sh.mostNodes = shrunk(sh.nodes, sh.mostNodes)
	sh.series, sh.mostSeries = shrunk(sh.series, sh.mostSeries)
}

func shrunk[K comparable, V any](m map[K]V, most int32) (map[K]V, int32) {
	if most < 64 || len(m) > int(most)/4 {
		return m, most
	}
	small := make(map[K]V, len(m))
	for k, v := range m {
		small[k] = v
	}
	return small, int32(len(m))
}
