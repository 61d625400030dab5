package receiver

import (
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// item is a datagram between the socket and the handler.
type item struct {
	from netip.AddrPort
	at   time.Time
	n    int    // length of the datagram
	buf  []byte // of one of the pool's sizes
}

// overhead is about the memory of an item beside its buffer, in bytes.
const overhead = 128

func (it *item) cost() int { return len(it.buf) + overhead }

// queue is a bounded queue with one writer, which never waits, and one reader.
type queue struct {
	maxCount, maxBytes int

	mu     sync.Mutex
	wake   sync.Cond // an item was put, or the queue was closed
	items  []*item
	count  int // of items that were put and are not done
	bytes  int // their cost
	closed bool
}

func newQueue(maxCount, maxBytes int) *queue {
	q := &queue{maxCount: maxCount, maxBytes: maxBytes}
	q.wake.L = &q.mu
	return q
}

// put adds an item, or reports that it does not fit.
func (q *queue) put(it *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	// One item always fits.
	if q.count > 0 && (q.count >= q.maxCount || q.bytes+it.cost() > q.maxBytes) {
		return false
	}
	q.items = append(q.items, it)
	q.count++
	q.bytes += it.cost()
	if len(q.items) == 1 {
		q.wake.Signal()
	}
	return true
}

// close makes take return no items when the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}

// take waits for items and returns all, or none if the queue is closed. The given slice
// is used for later items.
func (q *queue) take(spare []*item) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.wake.Wait()
	}
	items := q.items
	q.items = spare[:0]
	return items
}

// done releases the room of an item and returns the number of items left.
func (q *queue) done(it *item) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
	q.bytes -= it.cost()
	return q.count
}

// pool holds buffers of five sizes, so that a small datagram that waits does not hold
// 64 KiB.
type pool struct {
	sizes [5]sync.Pool // of *item with a buffer of 256 << 2i bytes
}

func (p *pool) get(n int) *item {
	i := class(n)
	if it, ok := p.sizes[i].Get().(*item); ok {
		return it
	}
	return &item{buf: make([]byte, 256<<(2*i))}
}

func (p *pool) put(it *item) { p.sizes[class(len(it.buf))].Put(it) }

// class returns the smallest size that holds n bytes.
func class(n int) int {
	if n <= 256 {
		return 0
	}
	return (bits.Len(uint(n-1)) - 7) / 2
}
