package metrics

import (
	"sync/atomic"
	"unsafe"
)

// cacheLine is the size in bytes of what processors do not share well.
const cacheLine = 64

// shards is how many parts a counter or measure has; shardBits its logarithm.
const (
	shardBits = 4
	shards    = 1 << shardBits
)

// shard returns a number below [shards] that a goroutine keeps for a while and
// that others seldom have: made of the address of its stack. (Go does not tell
// the processor; random numbers would have every processor write everywhere.)
func shard() uint {
	var here byte
	return uint(uint64(uintptr(unsafe.Pointer(&here))) * 0x9e3779b97f4a7c15 >> (64 - shardBits)) // Fibonacci hashing
}

// Counter counts what happens, and only goes up. Make one with
// [Registry.Counter].
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

// Total returns the sum of what was added.
func (c *Counter) Total() int64 { return c.n.total() }

// sharded is a number that many may add to at once.
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

// Cache counts hits and misses. Make one with [Registry.Cache].
type Cache struct{ hits, misses sharded }

// Hit counts an access that was served from the cache.
func (c *Cache) Hit() { c.hits.add(1) }

// Miss counts one that was not.
func (c *Cache) Miss() { c.misses.add(1) }
