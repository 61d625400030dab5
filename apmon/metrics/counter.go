package metrics

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// cacheLine is the size in bytes of a cache line.
const cacheLine = 64

// shards is the number of parts of a counter or measure; shardBits is its logarithm.
const (
	shardBits = 4
	shards    = 1 << shardBits
)

// shard returns a number below [shards] that a goroutine keeps for a while and seldom
// shares with others: a hash of its stack address. (Go does not expose the processor;
// with random numbers every processor would write to all shards.)
func shard() uint {
	var here byte
	return uint(uint64(uintptr(unsafe.Pointer(&here))) * 0x9e3779b97f4a7c15 >> (64 - shardBits)) // Fibonacci hashing
}

// Counter is a number that only goes up. Make one with [Registry.Counter].
type Counter struct {
	n       sharded
	ignored *atomic.Uint64
}

// Add adds n. A negative n is ignored and counted, see [Stats].
func (c *Counter) Add(n int64) {
	if n < 0 {
		c.ignored.Add(1)
		return
	}
	c.n.add(n)
}

// Total returns the sum of all additions.
func (c *Counter) Total() int64 { return c.n.total() }

// sharded is a number that many goroutines add to at the same time.
type sharded [shards]struct {
	n atomic.Int64
	_ [cacheLine - 8]byte
}

func (s *sharded) add(n int64) { s[shard()].n.Add(n) }

func (s *sharded) total() (sum int64) {
	for i := range s {
		sum += s[i].n.Load()
	}
	return sum
}

// Sum is a total of any numbers: fractions and negative ones too. Make one with
// [Registry.Sum]. To Prometheus it is a gauge, since it may go down.
type Sum struct {
	cells [shards]struct {
		bits atomic.Uint64 // of a float64
		_    [cacheLine - 8]byte
	}
	ignored *atomic.Uint64
}

// Add adds v. NaN and infinities are ignored and counted, see [Stats].
func (s *Sum) Add(v float64) {
	if v-v != 0 { // NaN for NaN and infinities alike
		s.ignored.Add(1)
		return
	}
	c := &s.cells[shard()].bits
	for {
		old := c.Load()
		if c.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Total returns the sum of all additions.
func (s *Sum) Total() (sum float64) {
	for i := range s.cells {
		sum += math.Float64frombits(s.cells[i].bits.Load())
	}
	return sum
}

// Cache counts hits and misses. Make one with [Registry.Cache].
type Cache struct{ hits, misses sharded }

// Hit counts an access that the cache served.
func (c *Cache) Hit() { c.hits.add(1) }

// Miss counts an access that the cache did not serve.
func (c *Cache) Miss() { c.misses.add(1) }
