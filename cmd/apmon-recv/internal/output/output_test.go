package output

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/xdr"
)

var errBroken = errors.New("broken")

// collector is an output that keeps what it gets, after waiting for its gate.
type collector struct {
	name string
	gate chan struct{} // nil for no waiting
	fail error         // of Run, after the first datagram

	mu   sync.Mutex
	seqs []int32
	errs []error
}

func (c *collector) Name() string { return c.name }

func (c *collector) Run(ctx context.Context, in *In) error {
	for in.Take(ctx, 1, 0) {
		if c.gate != nil {
			select {
			case <-c.gate:
			case <-ctx.Done():
				return nil
			}
		}
		c.mu.Lock()
		for p := range in.Packets() {
			if p.Datagram == nil {
				c.errs = append(c.errs, p.Err)
				continue
			}
			c.seqs = append(c.seqs, p.Datagram.Seq)
		}
		c.mu.Unlock()
		in.Sent(in.Len())
		if c.fail != nil {
			return c.fail
		}
	}
	return nil
}

func (c *collector) got() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seqs)
}

func packet(seq int) *receiver.Packet {
	d := xdr.Datagram{Version: "2.2.20", Instance: 7, Seq: int32(seq), Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("i", seq)}}
	p := &receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:8884"), Received: time.Unix(1, 0), Raw: d.Append(nil)}
	p.Decode(new(xdr.Datagram), nil)
	return p
}

// An output that hangs loses datagrams, counted; another one gets them all.
func TestSlowOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testSlowOutput)
}

func testSlowOutput(t *testing.T) {
	slow, fast := &collector{name: "slow", gate: make(chan struct{})}, &collector{name: "fast"}
	var s Set
	s.Swap(t.Context(), []Output{slow, fast}, nil)
	const n = QueueLen + 1000
	p := packet(0)
	for i := range n {
		s.Offer(p)
		if i%1000 == 0 {
			synctest.Wait() // the fast one keeps up
		}
	}
	close(slow.gate)
	stats := s.Close(t.Context())
	if stats[0].Taken+stats[0].Dropped[QueueFull] != n || stats[0].Dropped[QueueFull] == 0 || stats[0].Sent != stats[0].Taken {
		t.Errorf("slow: %+v", stats[0])
	}
	if fast.got() != n || len(stats[1].Dropped) != 0 || stats[1].Sent != n {
		t.Errorf("fast: %+v", stats[1])
	}
}

// Put waits for room, and Idle until all is handled.
func TestPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{name: "c", gate: make(chan struct{})}
		var s Set
		s.Swap(t.Context(), []Output{c}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n, p := 0, packet(0)
		for s.Put(ctx, p) {
			n++
		}
		if count, _ := s.get().running[0].in.queue.Len(); count != QueueLen || n < QueueLen {
			t.Errorf("%d waiting after %d", count, n)
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s.Idle(soon) {
			t.Error("idle")
		}
		close(c.gate)
		if !s.Put(t.Context(), packet(n)) || !s.Idle(t.Context()) || c.got() != n+1 {
			t.Errorf("%d of %d handled", c.got(), n+1)
		}
		s.Close(t.Context())
	})
}

// A refused datagram keeps the reason that is not in it.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := &collector{name: "c"}
	var s Set
	s.Swap(t.Context(), []Output{c}, nil)
	p := packet(1)
	p.Decode(new(xdr.Datagram), receiver.ErrPassword)
	s.Offer(p)
	p = &receiver.Packet{Raw: []byte{1, 2}}
	p.Decode(new(xdr.Datagram), nil)
	s.Offer(p)
	s.Close(t.Context())
	var bad *xdr.DecodeError
	if len(c.errs) != 2 || !errors.Is(c.errs[0], receiver.ErrPassword) || !errors.As(c.errs[1], &bad) {
		t.Errorf("errors %v", c.errs)
	}
}

// Outputs that stay go on; others end, and handle what they hold.
func TestSwap(t *testing.T) {
	t.Parallel()
	a, b, c := &collector{name: "a"}, &collector{name: "b"}, &collector{name: "c"}
	var s Set
	s.Swap(t.Context(), []Output{a, b}, nil)
	s.Offer(packet(1))
	s.Swap(t.Context(), []Output{b, c}, nil)
	if a.got() != 1 {
		t.Error("a ended without its datagram")
	}
	s.Offer(packet(2))
	stats := s.Close(t.Context())
	if a.got() != 1 || b.got() != 2 || c.got() != 1 || stats[0].Output != "b" || stats[0].Sent != 2 {
		t.Errorf("a %d, b %d, c %d; %+v", a.got(), b.got(), c.got(), stats)
	}
}

// An output that does not end is ended, and what it holds is counted.
func TestStopHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{name: "c", gate: make(chan struct{})}
		var s Set
		s.Swap(t.Context(), []Output{c}, nil)
		s.Offer(packet(1))
		s.Offer(packet(2))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if stats := s.Close(ctx); stats[0].Dropped[Stopped] != 2 || c.got() != 0 {
			t.Errorf("%+v", stats[0])
		}
	})
}

// The end of one output for good is reported, and harms no other.
func TestFailed(t *testing.T) {
	t.Parallel()
	bad, good := &collector{name: "bad", fail: errBroken}, &collector{name: "good"}
	failed := make(chan error, 1)
	s := Set{Failed: func(_ Output, err error) { failed <- err }}
	s.Swap(t.Context(), []Output{bad, good}, nil)
	s.Offer(packet(1))
	if err := <-failed; err != errBroken {
		t.Error(err)
	}
	s.Offer(packet(2))
	if !s.Put(t.Context(), packet(3)) || !s.Idle(t.Context()) {
		t.Error("the other is stopped")
	}
	stats := s.Close(t.Context())
	if !stats[0].Ended || stats[0].Error != "broken" || good.got() != 3 {
		t.Errorf("%+v, good %d", stats, good.got())
	}
}

// A failure is logged at its beginning, once a minute, and at its end.
func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		s := State{log: slog.New(slog.NewTextHandler(&b, nil)), name: "influx x"}
		s.Works()
		for range 150 {
			s.Fails(errBroken)
			time.Sleep(time.Second)
		}
		if st := s.snapshot(); st.Error != "broken" || time.Since(st.Since) != 150*time.Second {
			t.Errorf("%+v", st)
		}
		s.Works()
		if got := b.String(); strings.Count(got, "output fails") != 3 || strings.Count(got, "works again") != 1 || !strings.Contains(got, "after=2m30s") {
			t.Error(got)
		}
	})
}

// hanging is an output that does not return when its context ends, as one in a write to a full
// pipe, until the gate opens.
type hanging struct{ gate chan struct{} }

func (hanging) Name() string { return "place" }

func (h hanging) Run(ctx context.Context, in *In) error {
	in.Take(ctx, 1, 0)
	<-h.gate
	return nil
}

// An output that hangs is left behind, and the next one that writes to the same place waits
// until it has ended.
func TestHangingOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, next := hanging{make(chan struct{})}, &collector{name: "place"}
		var s Set
		s.Swap(t.Context(), []Output{h}, nil)
		s.Offer(packet(1))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s.Swap(ctx, []Output{next}, nil)
		if took := time.Since(began); took > 5*time.Second+endTime {
			t.Errorf("swapped after %v", took)
		}
		s.Offer(packet(2))
		synctest.Wait()
		if next.got() != 0 {
			t.Error("two outputs write to one place")
		}
		close(h.gate)
		synctest.Wait()
		if next.got() != 1 {
			t.Errorf("%d datagrams, want 1", next.got())
		}
		s.Close(t.Context())
	})
}

func TestCloseLeavesHangingOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{})}
		defer close(h.gate)
		var s Set
		s.Swap(t.Context(), []Output{h}, nil)
		s.Offer(packet(1))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if all := s.Close(ctx); len(all) != 1 || all[0].Dropped[Stopped] != 1 {
			t.Errorf("%+v", all)
		}
	})
}

// An output with the name of one that goes on does not wait for it.
func TestOutputsOfOneName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &collector{name: "place"}, &collector{name: "place"}
		var s Set
		s.Swap(t.Context(), []Output{a}, nil)
		s.Swap(t.Context(), []Output{a, b}, nil)
		s.Offer(packet(1))
		synctest.Wait()
		if a.got() != 1 || b.got() != 1 {
			t.Errorf("%d and %d datagrams", a.got(), b.got())
		}
		s.Close(t.Context())
	})
}

// swapper is a sink that swaps the outputs, in the middle of an Offer.
type swapper struct{ swap func() }

func (s swapper) Offer(*receiver.Packet) { s.swap() }

// A datagram that is on its way while the outputs are swapped reaches the new one once.
func TestSwapLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, next, stays := &collector{name: "place"}, &collector{name: "place"}, &collector{name: "other"}
		var s Set
		s.Swap(t.Context(), []Output{old, stays}, []Sink{swapper{func() {
			s.Swap(t.Context(), []Output{next, stays}, nil)
		}}})
		s.Offer(packet(1))
		synctest.Wait()
		if old.got() != 0 || next.got() != 1 || stays.got() != 1 {
			t.Errorf("%d, %d and %d datagrams", old.got(), next.got(), stays.got())
		}
		for _, c := range s.Close(t.Context()) {
			if c.Sent != 1 || len(c.Dropped) > 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}
