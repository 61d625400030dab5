package receiver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
)

// newTestFlood returns flood control whose decisions are the same in each run.
func newTestFlood(limit int) *flood {
	f := newFlood(limit)
	f.random = rand.New(rand.NewPCG(1, 2)).Float64
	return f
}

// share sends at a steady rate for the given seconds from the first on, and returns the share
// that is accepted.
func (f *flood) share(addr netip.Addr, first, seconds, perSecond int) float64 {
	accepted := 0
	for s := range seconds {
		for range perSecond {
			if f.accept(addr, int32(first+s)) {
				accepted++
			}
		}
	}
	return float64(accepted) / float64(seconds*perSecond)
}

// These shares are simulated for the MonALISA service at a steady rate and its limit.
func TestFloodAcceptsAsMonALISADoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		perSecond int
		want      float64
	}{{1, 1}, {40, 1}, {45, 1}, {50, 0.94}, {75, 0.65}, {100, 0.49}, {200, 0.25}} {
		got := newTestFlood(50).share(alice, 1, 1000, c.perSecond)
		if got < c.want-0.01 || got > c.want+0.01 || c.want == 1 && got != 1 {
			t.Errorf("%d/s: %.3f accepted, want %.2f", c.perSecond, got, c.want)
		}
	}
}

func TestFloodLimits(t *testing.T) {
	t.Parallel()
	// The limit is one of each address, and small ones work, too.
	for _, limit := range []int{1, 2, 9, 10, 11, 1000} {
		f := newTestFlood(limit)
		if got := f.share(alice, 1, 200, 3*limit); got < 0.3 || got > 0.7 {
			t.Errorf("limit %d: %.3f of three times as much accepted", limit, got)
		}
		if got := f.share(bob, 1, 60, 1); limit > 2 && got != 1 {
			t.Errorf("limit %d: %.3f of another address accepted", limit, got)
		}
	}
	// The smoothed rate permits a burst, and silence is forgotten fast.
	f := newTestFlood(50)
	if got := f.share(alice, 1, 1, 500); got != 1 {
		t.Errorf("%.3f of a burst accepted", got)
	}
	if got := f.share(alice, 2, 60, 500); got > 0.25 {
		t.Errorf("%.3f of a flood accepted", got)
	}
	if got := f.share(alice, 71, 5, 40); got != 1 {
		t.Errorf("%.3f accepted after a silence of 10 s", got)
	}
	// A socket that is a second behind neither panics nor resets the count.
	f = newTestFlood(50)
	f.accept(alice, 10)
	if !f.accept(alice, 9) || f.sets == [floodSets]floodSet{} {
		t.Error("a datagram of the second before is refused")
	}
}

// A million forged addresses neither grow the table, nor push out the address that floods, nor
// harm the one that does not.
func TestFloodWithForgedAddresses(t *testing.T) {
	t.Parallel()
	const seconds, forged = 20, 50_000 // of them in each second
	f := newTestFlood(50)
	rng := rand.New(rand.NewPCG(3, 4))
	var flooding, calm, strange int
	for s := range int32(seconds) {
		for i := range forged {
			var a [16]byte
			for i := range a {
				a[i] = byte(rng.Uint32())
			}
			if i%2 == 0 {
				copy(a[:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff")
			}
			if f.accept(netip.AddrFrom16(a).Unmap(), s+1) {
				strange++
			}
			if i%(forged/200) == 0 && f.accept(alice, s+1) {
				flooding++
			}
			if i%(forged/40) == 0 && f.accept(bob, s+1) {
				calm++
			}
		}
	}
	if calm != seconds*40 || strange != seconds*forged {
		t.Errorf("%d of %d of a calm address accepted, %d of %d of forged ones", calm, seconds*40, strange, seconds*forged)
	}
	// Alone it passes as much: the start is a burst.
	alone := newTestFlood(50).share(alice, 1, seconds, 200)
	if got := float64(flooding) / (seconds * 200); got > alone+0.02 {
		t.Errorf("%.3f of the flood accepted, %.3f without forged addresses", got, alone)
	}
}

// The receiver applies the limit by the time of arrival, before it decodes, and counts it.
func TestFloodLimitOfReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Listen("127.0.0.1:0", Options{FloodLimit: 50})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.flood.random = newTestFlood(50).random
		const seconds, perSecond = 60, 200
		items := []queue.Item{{From: netip.AddrPortFrom(alice, 1234)}}
		n := 0
		r.sockets[0].read = func() ([]queue.Item, error) {
			if n == seconds*perSecond {
				return nil, errors.New("the end")
			}
			time.Sleep(time.Second / perSecond)
			n++
			items[0].At, items[0].Data = time.Now(), datagram("", n)
			return items, nil
		}
		refused := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		handled := 0
		err = r.Serve(ctx, func(p *Packet) {
			if handled++; handled == seconds*perSecond {
				cancel()
			}
			if p.Err != nil {
				refused++
				if p.Err != ErrFlood || p.Datagram != nil || p.Refused != nil {
					t.Errorf("%+v", p)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Stats()
		if share := float64(s.Received) / (seconds * perSecond); share < 0.2 || share > 0.4 {
			t.Errorf("%.2f accepted", share)
		}
		if s.Refusals != (Refusals{Flood: uint64(refused)}) || s.Received+s.Refused != seconds*perSecond {
			t.Errorf("%d refused, stats %+v", refused, s)
		}
		if got := r.Senders()[0]; got.Addr != alice || got.Refused != uint64(refused) || got.Refusal != ErrFlood {
			t.Errorf("sender %+v", got)
		}
	})
}

func TestFloodAllocatesNothing(t *testing.T) {
	f := newFlood(50)
	n := uint32(0)
	if got := testing.AllocsPerRun(1000, func() {
		n++
		f.accept(alice, int32(n/100+1))
		f.accept(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), int32(n/100+1))
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkFlood(b *testing.B) {
	f := newFlood(50)
	b.ReportAllocs()
	for i := range b.N {
		f.accept(alice, int32(i/1000+1))
	}
}
