package nats

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestWindow: without answers at most 4000 messages are published. When no answer comes in
// time all have failed, and are left in order; late answers to an earlier portion have no
// effect on the next.
func TestWindow(t *testing.T) {
	t.Parallel()
	s := serve(t)
	nc := dial(t, s.ClientURL()).Conn()
	var received atomic.Int64
	replies := make(chan string, 2*maxPending)
	if _, err := nc.Subscribe("silent", func(m *nats.Msg) {
		received.Add(1)
		replies <- m.Reply
	}); err != nil {
		t.Fatal(err)
	}
	w := newWindow(time.Hour)
	if err := w.open(nc); err != nil {
		t.Fatal(err)
	}
	const messages = maxPending + 1000
	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan int)
	go func() {
		n := 0
		for range messages {
			i := w.add()
			w.slots[i].subject = "silent"
			if w.publish(ctx, i) {
				n++
			}
		}
		published <- n
	}()
	testkit.Eventually(t, "4000 messages", func() bool { return received.Load() == maxPending })
	w.mu.Lock()
	if w.flying != maxPending || w.want < 0 {
		t.Errorf("%d without answer, waiting for %d", w.flying, w.want)
	}
	w.mu.Unlock()
	cancel()
	if n := <-published; n != maxPending {
		t.Errorf("%d were published", n)
	}
	w.patience = time.Millisecond
	left, r := w.wait(t.Context(), nil)
	if len(left) != messages || left[0] != 0 || left[messages-1] != messages-1 || r.err != errNoAnswer || r.stored != 0 {
		t.Errorf("%d are left, %+v", len(left), r)
	}
	w.clear()
	i := w.add()
	if err := nc.Publish(<-replies, []byte(`{"stream":"S","seq":1}`)); err != nil { // late
		t.Fatal(err)
	}
	w.slots[i].subject = "silent"
	w.patience = time.Hour
	if !w.publish(t.Context(), i) {
		t.Fatal("not published")
	}
	testkit.Eventually(t, "one more", func() bool { return received.Load() == maxPending+1 })
	for len(replies) > 1 {
		<-replies
	}
	reply := <-replies
	for range 2 { // a second answer has no effect
		if err := nc.Publish(reply, []byte(`{"stream":"S","seq":2,"duplicate":true}`)); err != nil {
			t.Fatal(err)
		}
	}
	left, r = w.wait(t.Context(), left[:0])
	if len(left) != 0 || r.stored != 1 || r.err != nil || r.duplicate != 1 {
		t.Errorf("%d are left, %+v", len(left), r)
	}
}
