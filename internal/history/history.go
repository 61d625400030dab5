// Package history has a bounded store of the last value of each parameter that is received, and
// [Windows] of the values within a time.
//
//	store := history.New(history.Options{})
//	store.Offer(cluster, node, params, received, 0) // from any goroutine
//	store.Each(time.Now(), func(n *history.Node) {
//		for s := range n.Series() {
//			fmt.Println(n.Cluster, n.Name, s.Name, s.Value)
//		}
//	})
//
// A series is one parameter of one node. [Store.Offer] is made for the goroutine that reads a
// socket: it does not wait for readers for long, and allocates nothing for series that exist.
// Nodes are in shards by a hash of cluster and node, with a lock each. A node remembers which
// series came after which, so that a parameter needs no look-up where its datagrams repeat.
//
// # Bounds
//
// The number of series and their memory are limited. Series that exist stay, and new ones are
// refused and counted, with the clusters that caused it. The memory of a series includes the
// names of its cluster and node, although they are stored once: so it also bounds what a
// reader writes that repeats them for each series. Bytes that are escaped when they are
// written (control characters, quotes, backslashes, and those that are not UTF-8) count four
// times.
//
// A series ends when its last value was received [Options.Expire] ago, or the time that
// [Node.Mark] has set. A node ends with its last series.
package history

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/xdr"
)

// Defaults of [Options].
const (
	DefaultMaxSeries = 100_000
	DefaultMaxBytes  = 32 << 20
	// DefaultExpire is the time after which MonALISA drops a parameter.
	DefaultExpire = 900 * time.Second
)

// Options are the settings of a store.
type Options struct {
	MaxSeries int           // the most series; DefaultMaxSeries if not positive
	MaxBytes  int64         // the most memory, in bytes; DefaultMaxBytes if not positive
	Expire    time.Duration // DefaultExpire if not positive
}

// Store is a bounded store of last values. Use [New]. Its methods are safe for concurrent
// use.
type Store struct {
	table
	maxSeries, maxBytes, expire atomic.Int64 // expire in ns
	expired                     atomic.Int64
	// When Offer removes the series that have ended from one more shard, and the number
	// of times that it did.
	sweepAt, swept atomic.Int64

	refusals refusals
}

// Node is a node of a cluster: at least one of its parameters is stored.
type Node struct {
	Cluster, Name string
	// Received is when its last datagram was received, in Unix nanoseconds.
	Received int64

	store  *Store
	series []*Series // in the order in which they were made
	cost   int32     // bytes of its names; Store adds it to the cost of each series
	gone   int32     // those of series that Windows has dropped
	// The place of the series that is expected first in the next datagram: next of the
	// last series of the last datagram.
	slot  **Series
	first *Series
}

// Series is the last value of one parameter of a node.
type Series struct {
	Name  string
	Value float64 // 0 for a text
	Text  string  // "" for a number
	// Received is when the value was received, in Unix nanoseconds, and Time is the time
	// that the datagram carries, in Unix seconds, 0 if it has none.
	Received int64
	Time     int32
	IsText   bool

	lifetime uint32 // s, 0 for Options.Expire
	markCost uint32 // bytes
	cost     int64  // bytes, with its mark, without its text
	mark     any
	next     *Series // that followed last time
}

// New returns an empty store.
func New(o Options) *Store {
	s := new(Store)
	s.init()
	s.refusals.counts = make(map[string]*uint64)
	s.Configure(o)
	return s
}

// Configure changes the settings. Series over a new limit stay.
func (s *Store) Configure(o Options) {
	s.maxSeries.Store(orDefault(int64(o.MaxSeries), DefaultMaxSeries))
	s.maxBytes.Store(orDefault(o.MaxBytes, DefaultMaxBytes))
	s.expire.Store(orDefault(int64(o.Expire), int64(DefaultExpire)))
}

func orDefault(v, or int64) int64 {
	if v > 0 {
		return v
	}
	return or
}

// Offer stores the values of one datagram as the last ones of its node. The time is the one
// that the datagram carries, in Unix seconds; 0 is none. The store copies the strings that it
// keeps. The last of several values of one parameter counts.
func (s *Store) Offer(cluster, node string, params []xdr.Param, received time.Time, sent int32) {
	if len(params) == 0 {
		return
	}
	now := received.UnixNano()
	sh := s.shard(cluster, node)
	overCount, overBytes := 0, 0
	sh.mu.Lock()
	n := sh.nodes[nodeKey{cluster, node}]
	if n == nil {
		n = s.join(sh, cluster, node)
	}
	if n == nil {
		overCount, overBytes = s.over(len(params))
	} else {
		overCount, overBytes = s.update(sh, n, params, now, sent)
	}
	sh.mu.Unlock()
	if overCount+overBytes > 0 {
		s.refusals.add(cluster, overCount, overBytes)
	}
	s.sweepOne(now)
}

// over attributes n values that could not be stored to a limit: that of the number of
// series, or that of memory.
func (s *Store) over(n int) (overCount, overBytes int) {
	if s.series.Load() >= s.maxSeries.Load() {
		return n, 0
	}
	return 0, n
}

// update stores values and returns the number of those that it refuses.
func (s *Store) update(sh *shard, n *Node, params []xdr.Param, now int64, sent int32) (overCount, overBytes int) {
	n.Received = now
	slot := n.slot
	for i := range params {
		p := &params[i]
		e := sh.find(n, slot, p.Name)
		if e == nil {
			if e = s.add(sh, n, p.Name); e == nil {
				c, b := s.over(1)
				overCount, overBytes = overCount+c, overBytes+b
				continue
			}
			*slot = e
		}
		slot = &e.next
		if p.Type() == xdr.TypeString || e.IsText {
			if !s.setText(e, p) {
				overBytes++
				continue
			}
		}
		e.Value, e.Received, e.Time = p.Float(), now, sent
	}
	n.slot = slot
	return overCount, overBytes
}

// setText stores a text, or the number that follows one, unless it needs more memory than
// there is.
func (s *Store) setText(e *Series, p *xdr.Param) bool {
	text := p.Text() // "" for a number
	if text != e.Text {
		if !s.grow(escapedLen(text) - escapedLen(e.Text)) {
			return false
		}
		e.Text = strings.Clone(text)
	}
	e.IsText = p.Type() == xdr.TypeString
	return true
}

// Memory of a node and of a series beside the strings, in bytes, as measured: with the maps.
const (
	nodeCost   = 240
	seriesCost = 200
)

// join makes a node, or returns nil if there is no room. The caller holds the shard's lock.
func (s *Store) join(sh *shard, cluster, name string) *Node {
	cost := escapedLen(cluster) + escapedLen(name)
	if s.series.Load() >= s.maxSeries.Load() || !s.grow(nodeCost+cost) {
		return nil
	}
	n := s.addNode(sh, cluster, name)
	n.store, n.cost = s, int32(cost)
	return n
}

// add makes a series, or returns nil if there is no room. The caller holds the
// shard's lock.
func (s *Store) add(sh *shard, n *Node, name string) *Series {
	if s.series.Load() >= s.maxSeries.Load() {
		return nil
	}
	cost := seriesCost + int64(n.cost) + escapedLen(name)
	if s.series.Add(1) > s.maxSeries.Load() || !s.grow(cost) {
		s.series.Add(-1)
		return nil
	}
	return s.addSeries(sh, n, name, cost)
}

// grow takes a number of bytes, negative to give them back. It returns false if there is no
// room for them.
func (s *Store) grow(n int64) bool {
	if n <= 0 {
		s.bytes.Add(n)
		return true
	}
	limit := s.maxBytes.Load()
	if s.bytes.Load()+n > limit {
		return false
	}
	if s.bytes.Add(n) > limit {
		s.bytes.Add(-n)
		return false
	}
	return true
}

// escapedLen returns the length of a string with each byte that may have to be escaped
// counted four times.
func escapedLen(v string) int64 {
	n := int64(len(v))
	for i := 0; i < len(v); {
		c := v[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == '"' || c == '\\' || c == 0x7f {
				n += 3
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(v[i:])
		if r == utf8.RuneError && size == 1 {
			n += 3
		}
		i += size
	}
	return n
}

// sweepInterval is the time in which Offer removes what has ended from every shard.
const sweepInterval = int64(30 * time.Second)

// sweepOne removes what has ended from the next shard, if that is due, so that series
// that have ended give their room to new ones even if nobody reads.
func (s *Store) sweepOne(now int64) {
	due := s.sweepAt.Load()
	if now < due && due-now <= sweepInterval || !s.sweepAt.CompareAndSwap(due, now+sweepInterval/shards) {
		return
	}
	sh := &s.shards[s.swept.Add(1)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.sweep(sh, now)
}

// sweep removes what has ended. The caller holds the shard's lock.
func (s *Store) sweep(sh *shard, now int64) {
	expire := s.expire.Load()
	for _, n := range sh.list {
		s.prune(sh, n, now, expire)
	}
	s.removeEmpty(sh)
}

// prune removes the series of a node that have ended.
func (s *Store) prune(sh *shard, n *Node, now, expire int64) {
	before := len(n.series)
	s.remove(sh, n, func(e *Series) bool {
		if e.lifetime > 0 {
			return now-e.Received >= int64(e.lifetime)*int64(time.Second)
		}
		return now-e.Received >= expire
	})
	s.expired.Add(int64(before - len(n.series)))
}

// remove removes the series of a node for which gone is true.
func (s *Store) remove(sh *shard, n *Node, gone func(*Series) bool) {
	if !slices.ContainsFunc(n.series, gone) {
		return
	}
	n.removeSeries(func(e *Series) bool {
		if !gone(e) {
			return false
		}
		delete(sh.series, seriesKey{n, e.Name})
		s.grow(-e.cost - escapedLen(e.Text))
		s.series.Add(-1)
		return true
	})
}

// Forget removes the nodes for which gone is true.
func (s *Store) Forget(gone func(cluster, node string) bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, n := range sh.list {
			if gone(n.Cluster, n.Name) {
				s.remove(sh, n, func(*Series) bool { return true })
			}
		}
		s.removeEmpty(sh)
		sh.mu.Unlock()
	}
}

// Each calls f for each node, after it has removed what has ended at that time. Meanwhile
// values for the node, and for those of its shard, wait: f should not take long. The node and
// its series are valid only during the call; their strings can be kept.
func (s *Store) Each(now time.Time, f func(*Node)) {
	for i := range s.shards {
		s.eachOf(&s.shards[i], now.UnixNano(), f)
	}
}

func (s *Store) eachOf(sh *shard, now int64, f func(*Node)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.sweep(sh, now)
	for _, n := range sh.list {
		f(n)
	}
}

// Series returns the series of a node, in the order in which they were first received.
func (n *Node) Series() iter.Seq[*Series] {
	return func(yield func(*Series) bool) {
		for _, e := range n.series {
			if !yield(e) {
				return
			}
		}
	}
}

// Mark returns what [Node.Mark] has attached to the series, nil at first.
func (e *Series) Mark() any { return e.mark }

// Mark attaches a value to a series of the node, for one user of the store, instead of an
// earlier one. It takes the given number of bytes of memory. The series ends when no value
// was received for the given time, of at least a second; 0 is the time of the store. Mark
// returns false and attaches nothing if there is no room.
func (n *Node) Mark(e *Series, mark any, bytes int, expire time.Duration) bool {
	more := int64(bytes) - int64(e.markCost)
	if !n.store.grow(more) {
		return false
	}
	e.mark, e.cost, e.markCost = mark, e.cost+more, uint32(bytes)
	e.lifetime = uint32(min(expire/time.Second, 1<<31))
	return true
}
