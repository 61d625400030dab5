// Package queue has a bounded queue of datagrams between goroutines: between the sockets of
// a receiver and its handler, and in front of each output of apmon-recv.
//
// A queue copies the bytes of a datagram into chunks of 128 KiB that are used again, so
// that a small datagram does not hold a large buffer and nothing is allocated in steady
// state. Its bounds are a number of datagrams and a number of bytes; both include the
// datagrams that were taken and not yet released. A queue has any number of writers and
// one reader.
package queue

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Item is one datagram.
type Item struct {
	From netip.AddrPort // the sender, never an IPv4-mapped address
	At   time.Time      // when it was read from the socket
	// Err is why it was refused for another reason than that it cannot be decoded: a
	// password, an access rule. It is nil if there is none.
	Err  error
	Data []byte
}

// chunkSize is in bytes. The longest datagram, of 64 KiB, fits.
const chunkSize = 128 << 10

// overhead is about the memory of an item beside its bytes.
const overhead = 128

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// Batch holds the items that were taken from a queue. The zero value is ready to use.
type Batch struct {
	Items  []Item
	bytes  int
	chunks []*[chunkSize]byte
}

// Queue is a bounded queue of datagrams. Use [New].
type Queue struct {
	maxCount, maxBytes int

	mu     sync.Mutex
	queued Batch
	used   int // bytes used of the last chunk of queued
	// Of items that were taken and are not yet released.
	takenCount, takenBytes int
	closed                 bool
	// Numbers of items that were put and released so far.
	puts, released uint64
	freed          chan struct{} // if not nil, closed at the next release

	more chan struct{} // holds a token after items were put, or the queue was closed
	room chan struct{} // holds a token after items were released
}

// New returns a queue that holds at most maxCount datagrams and about maxBytes bytes of
// memory. One datagram always fits into an empty queue.
func New(maxCount, maxBytes int) *Queue {
	return &Queue{maxCount: maxCount, maxBytes: maxBytes, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// wake puts a token into a channel that holds one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Offer copies the items that fit into the queue and returns their number. It does not
// wait. A closed queue takes none.
func (q *Queue) Offer(items ...Item) int {
	n := 0
	q.mu.Lock()
	for i := range items {
		if q.put(&items[i]) {
			n++
		}
	}
	q.mu.Unlock()
	if n > 0 {
		wake(q.more)
	}
	return n
}

// Put copies an item into the queue and waits until it fits. It returns false if the
// context ends or the queue is closed before.
func (q *Queue) Put(ctx context.Context, it Item) bool {
	for {
		q.mu.Lock()
		ok, closed := q.put(&it), q.closed
		q.mu.Unlock()
		if ok {
			wake(q.more)
			wake(q.room) // there may be room for another writer that waits
		}
		if ok || closed {
			return ok
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return false
		}
	}
}

// put copies an item into the queue if it fits.
func (q *Queue) put(it *Item) bool {
	count := len(q.queued.Items) + q.takenCount
	size := len(it.Data) + overhead
	held := len(q.queued.chunks)
	fresh := held == 0 || q.used+len(it.Data) > chunkSize
	if fresh && held > 0 {
		size += chunkSize - q.used // is lost: up to half of the memory if all are long
	}
	if q.closed || len(it.Data) > chunkSize ||
		count > 0 && (count >= q.maxCount || q.queued.bytes+q.takenBytes+size > q.maxBytes) {
		return false
	}
	if fresh {
		q.queued.chunks = append(q.queued.chunks, chunks.Get().(*[chunkSize]byte))
		q.used = 0
	}
	end := q.used + len(it.Data)
	b := q.queued.chunks[len(q.queued.chunks)-1][q.used:end:end]
	copy(b, it.Data)
	q.used = end
	q.queued.Items = append(q.queued.Items, Item{it.From, it.At, it.Err, b})
	q.queued.bytes += size
	q.puts++
	return true
}

// Take releases the items of b, which an earlier Take has filled, and waits until the queue
// holds at least the given number of items, or it holds one and the time has passed. Then it
// moves all items into b and returns true. It returns false without items if the queue is
// closed and empty, or the context ends.
func (q *Queue) Take(ctx context.Context, b *Batch, atLeast int, within time.Duration) bool {
	q.release(b)
	var late <-chan time.Time
	waited := false
	for {
		if ctx.Err() != nil { // also if there are items
			return false
		}
		q.mu.Lock()
		n := len(q.queued.Items)
		if n > 0 && (n >= atLeast || n >= q.maxCount || waited || q.closed) {
			*b, q.queued = q.queued, *b
			q.used = 0
			q.takenCount, q.takenBytes = n, b.bytes
			q.mu.Unlock()
			return true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return false
		}
		if n > 0 && late == nil {
			t := time.NewTimer(within)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-q.more:
		case <-late:
			waited = true
		case <-ctx.Done():
			return false
		}
	}
}

// release gives up the items of a batch.
func (q *Queue) release(b *Batch) {
	for i, c := range b.chunks {
		chunks.Put(c)
		b.chunks[i] = nil
	}
	clear(b.Items)
	b.Items, b.chunks, b.bytes = b.Items[:0], b.chunks[:0], 0
	q.mu.Lock()
	defer q.mu.Unlock()
	q.released += uint64(q.takenCount)
	q.takenCount, q.takenBytes = 0, 0
	wake(q.room)
	if q.freed != nil {
		close(q.freed)
		q.freed = nil
	}
}

// Idle waits until every item put before has been released, which the reader does with
// its next Take. Items put later do not prolong it. It returns false if the context ends
// before.
func (q *Queue) Idle(ctx context.Context) bool {
	q.mu.Lock()
	until := q.puts
	for q.released < until {
		if q.freed == nil {
			q.freed = make(chan struct{})
		}
		freed := q.freed
		q.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
		q.mu.Lock()
	}
	q.mu.Unlock()
	return true
}

// Close makes the queue take no more items; Take returns those that it holds.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	wake(q.more)
	wake(q.room)
}

// Closed reports whether the queue was closed.
func (q *Queue) Closed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// Len returns the number of datagrams in the queue and of bytes of memory that they take,
// with those that were taken and not yet released.
func (q *Queue) Len() (count, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queued.Items) + q.takenCount, q.queued.bytes + q.takenBytes
}
