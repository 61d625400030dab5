package queue

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestIdleIgnoresLaterItems: a queue that other writers keep filling is idle for one of them
// when the items that it has put are released.
func TestIdleIgnoresLaterItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New(10, 1<<20)
		var b Batch
		q.Offer(Item{}, Item{})
		var idle atomic.Int32
		for range 2 {
			go func() {
				if q.Idle(t.Context()) {
					idle.Add(1)
				}
			}()
			synctest.Wait()
		}
		q.Take(t.Context(), &b, 1, 0)
		q.Offer(Item{})
		synctest.Wait()
		if idle.Load() != 0 {
			t.Fatal("idle before the items were released")
		}
		q.Take(t.Context(), &b, 1, 0) // releases the two, and takes the third
		synctest.Wait()
		if idle.Load() != 2 {
			t.Errorf("%d of 2 waiters returned although their items were released", idle.Load())
		}
	})
}
