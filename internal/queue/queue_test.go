package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

func items(from, to, size int) []Item {
	var all []Item
	for i := from; i < to; i++ {
		all = append(all, Item{Data: append(make([]byte, max(size-2, 0)), byte(i>>8), byte(i))})
	}
	return all
}

// numbers returns the numbers that items has written.
func numbers(b *Batch) []int {
	var all []int
	for _, it := range b.Items {
		n := len(it.Data)
		all = append(all, int(it.Data[n-2])<<8|int(it.Data[n-1]))
	}
	return all
}

func TestQueueKeepsOrderAndContent(t *testing.T) {
	t.Parallel()
	q := New(1000, 1<<20)
	from := netip.MustParseAddrPort("192.0.2.1:1234")
	at := time.Unix(1_700_000_000, 0)
	refused := errors.New("refused")
	data := []byte("datagram")
	if q.Offer(Item{from, at, refused, data}) != 1 || q.Offer(items(0, 3, 100)...) != 3 {
		t.Fatal("items do not fit")
	}
	copy(data, "changed!") // the queue has a copy
	var b Batch
	if !q.Take(t.Context(), &b, 1, 0) || len(b.Items) != 4 {
		t.Fatalf("took %d items", len(b.Items))
	}
	if it := b.Items[0]; it.From != from || it.At != at || it.Err != refused || string(it.Data) != "datagram" {
		t.Errorf("%+v", it)
	}
	b.Items = b.Items[1:]
	if got := numbers(&b); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("%v", got)
	}
	// An item cannot grow into the next.
	_ = append(b.Items[0].Data, "overwritten"...)
	if got := numbers(&b); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("%v after an append", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		count, bytes, size, want int
	}{
		{10, 1 << 20, 100, 10},
		{1000, 10 * (100 + overhead), 100, 10},
		{1000, 10*(100+overhead) - 1, 100, 9},
		{1000, 1, 60_000, 1}, // one always fits
		{1, 1, chunkSize, 1},
		{1000, 1 << 30, chunkSize + 1, 0}, // never
		{1000, 8 << 20, 65_507, 127},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			q := New(c.count, c.bytes)
			if got := q.Offer(items(0, 200, c.size)...); got != c.want {
				t.Errorf("%d fit, want %d", got, c.want)
			}
			// The items that were taken count, until they are released.
			var b Batch
			if c.want == 0 {
				return
			}
			q.Take(t.Context(), &b, 1, 0)
			if got := q.Offer(items(0, 200, c.size)...); got != 0 {
				t.Errorf("%d fit beside those that were taken", got)
			}
			atLeast := c.want * (c.size + overhead)
			if count, n := q.Len(); count != c.want || n < atLeast || n > max(atLeast, c.bytes) {
				t.Errorf("%d items of %d bytes", count, n)
			}
			q.Close()
			if q.Take(t.Context(), &b, 1, 0) || len(b.Items) != 0 {
				t.Error("there are more")
			}
			if count, n := q.Len(); count != 0 || n != 0 {
				t.Errorf("%d items of %d bytes are left", count, n)
			}
		})
	}
}

func TestSmallItemsFitBesideLargeOnes(t *testing.T) {
	t.Parallel()
	q := New(100, 2000)
	all := slices.Concat(items(0, 1, 1000), items(1, 2, 1000), items(2, 3, 100))
	var b Batch
	if got := q.Offer(all...); got != 2 || !q.Take(t.Context(), &b, 1, 0) || !slices.Equal(numbers(&b), []int{0, 2}) {
		t.Errorf("%d fit: %v", got, numbers(&b))
	}
}

func TestTakeWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		offers  int // one each second
		atLeast int
		within  time.Duration
		want    int
		after   time.Duration
	}{
		{"for one", 3, 1, 0, 1, time.Second},
		{"for enough", 10, 3, time.Minute, 3, 3 * time.Second},
		{"for the time after the first", 10, 100, 2500 * time.Millisecond, 3, 3500 * time.Millisecond},
		{"no longer than the queue is full", 10, 100, time.Hour, 5, 5 * time.Second},
		{"no longer than it is open", 2, 100, time.Hour, 2, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := New(5, 1<<20)
				done := make(chan bool)
				go func() {
					defer close(done)
					for i := range c.offers {
						time.Sleep(time.Second)
						q.Offer(items(i, i+1, 100)...)
					}
					time.Sleep(time.Second)
					q.Close()
				}()
				var b Batch
				begin := time.Now()
				if !q.Take(t.Context(), &b, c.atLeast, c.within) || len(b.Items) != c.want || time.Since(begin) != c.after {
					t.Errorf("%d items after %v, want %d after %v", len(b.Items), time.Since(begin), c.want, c.after)
				}
				<-done
			})
		})
	}
}

func TestTakeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New(5, 1<<20)
		var b Batch
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if q.Take(ctx, &b, 1, 0) {
			t.Error("took something of nothing")
		}
		q.Offer(items(0, 2, 10)...)
		q.Close()
		if n := q.Offer(items(2, 3, 10)...); n != 0 {
			t.Error("a closed queue takes items")
		}
		if q.Put(t.Context(), Item{}) {
			t.Error("a closed queue takes an item")
		}
		if !q.Take(t.Context(), &b, 100, time.Hour) || len(b.Items) != 2 {
			t.Errorf("%d items of a closed queue", len(b.Items))
		}
		if q.Take(t.Context(), &b, 1, 0) {
			t.Error("a closed and empty queue has items")
		}
	})
}

func TestPutWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New(2, 1<<20)
		var wg sync.WaitGroup
		var mu sync.Mutex
		put := 0
		for i := range 6 { // several writers
			wg.Go(func() {
				if !q.Put(t.Context(), items(i, i+1, 10)[0]) {
					t.Error("not put")
				}
				mu.Lock()
				defer mu.Unlock()
				put++
			})
		}
		var b Batch
		var got []int
		for want := 2; want <= 6; want += 2 {
			synctest.Wait()
			if put != want {
				t.Errorf("%d items put, want %d", put, want)
			}
			if want == 2 { // a writer gives up
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if q.Put(ctx, Item{}) {
					t.Error("put into a full queue")
				}
				cancel()
			}
			q.Take(t.Context(), &b, 1, 0)
			got = append(got, numbers(&b)...)
			q.release(&b)
		}
		wg.Wait()
		slices.Sort(got)
		if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5}) {
			t.Errorf("%v", got)
		}
	})
}

func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New(10, 1<<20)
		if !q.Idle(t.Context()) {
			t.Error("an empty queue is not idle")
		}
		q.Offer(items(0, 3, 10)...)
		idle := make(chan bool, 1)
		go func() { idle <- q.Idle(t.Context()) }()
		var b Batch
		q.Take(t.Context(), &b, 1, 0)
		synctest.Wait()
		if len(idle) > 0 {
			t.Fatal("idle before the items are released")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q.Take(ctx, &b, 1, 0)
		if !<-idle {
			t.Error("not idle")
		}
	})
}

// Writers and a reader at full speed: nothing is lost, doubled or changed.
func TestQueueConcurrently(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 5000
	q := New(100, 64<<10)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range each {
				data := bytes.Repeat([]byte{byte(w)}, 8+rng.IntN(2000))
				data[0], data[1] = byte(i>>8), byte(i)
				if !q.Put(t.Context(), Item{Data: data}) {
					t.Error("not put")
				}
			}
		})
	}
	go func() { wg.Wait(); q.Close() }()
	var b Batch
	var next [writers]int
	for q.Take(t.Context(), &b, 1, 0) {
		for _, it := range b.Items {
			w := int(it.Data[2])
			if n := int(it.Data[0])<<8 | int(it.Data[1]); n != next[w] || len(bytes.Trim(it.Data[2:], string(it.Data[2:3]))) > 0 {
				t.Fatalf("item %d of writer %d, want %d", n, w, next[w])
			}
			next[w]++
		}
	}
	if next != [writers]int{each, each, each, each} {
		t.Errorf("%v", next)
	}
}

// Chunks are used again. A group is large enough for several.
func TestQueueAllocatesNothing(t *testing.T) {
	q := New(1<<16, 8<<20)
	all := items(0, 1000, 300)
	var b Batch
	if got := testing.AllocsPerRun(100, func() {
		q.Offer(all...)
		q.Take(t.Context(), &b, 1, 0)
	}); got != 0 && !testkit.Race { // there sync.Pool drops some
		t.Errorf("%v allocations for %d items", got, len(all))
	}
}

func BenchmarkQueue(b *testing.B) {
	q := New(1<<16, 8<<20)
	all := items(0, 32, 308)
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		q.Offer(all...)
		q.Take(b.Context(), &batch, 1, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/item")
}

// The bound counts the memory, also of datagrams of which few fit into a chunk.
func TestBoundOfLongDatagrams(t *testing.T) {
	t.Parallel()
	const bound = 64 * chunkSize
	q := New(1<<20, bound)
	long, short := make([]byte, 65507), make([]byte, 100)
	for q.Offer(Item{Data: long}) == 1 && q.Offer(Item{Data: short}) == 1 {
	}
	if n := len(q.queued.chunks); n > 64 || n < 62 {
		t.Errorf("%d chunks", n)
	}
}

// A reader whose context has ended gets nothing more, although there is something.
func TestTakeAfterTheEnd(t *testing.T) {
	t.Parallel()
	q := New(10, 1<<20)
	q.Offer(items(0, 3, 100)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b Batch
	if q.Take(ctx, &b, 1, 0) || len(b.Items) != 0 {
		t.Errorf("%d items", len(b.Items))
	}
	if n, _ := q.Len(); n != 3 {
		t.Errorf("%d items are left", n)
	}
}
