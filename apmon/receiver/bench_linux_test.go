package receiver

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// measure returns the CPU time in which a receiver handles n datagrams.
func measure(t testing.TB, n, senders int, o Options, handle func(*Packet)) time.Duration {
	r := listen(t, "127.0.0.1:0", o)
	var received atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		done <- r.Serve(ctx, func(p *Packet) {
			handle(p)
			received.Add(1)
		})
	}()
	took := testkit.SendAll(t, r.Addr().String(), n, senders, testkit.UnderWay(r.sockets[0].readBuffer), &received)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Received != uint64(n) || s.Lost > 0 || s.Duplicate > 0 {
		t.Errorf("of %d: %+v", n, s)
	}
	return took
}

// perSenders measures with one sender, and with many.
func perSenders(b *testing.B, measure func(b *testing.B, senders int) time.Duration) {
	for _, senders := range []int{1, 1000} {
		b.Run(fmt.Sprint("senders=", senders), func(b *testing.B) {
			took := measure(b, senders)
			b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/datagram")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRawReceive is the floor of BenchmarkReceive: a bare loop of recvmmsg over the same
// datagrams. Both report the CPU time of the process without the sending thread.
func BenchmarkRawReceive(b *testing.B) {
	perSenders(b, func(b *testing.B, senders int) time.Duration {
		return testkit.RawReceive(b, b.N, senders)
	})
}

// BenchmarkReceive decodes and accounts.
func BenchmarkReceive(b *testing.B) {
	perSenders(b, func(b *testing.B, senders int) time.Duration {
		return measure(b, b.N, senders, Options{}, func(*Packet) {})
	})
}

// The receiver handles at least 0.55 of the datagrams that a bare loop receives in the same
// CPU time; the median of pairs counts, since other processes disturb.
func TestLongReceiveCost(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector costs more than the receiver")
	}
	testkit.Retry(t, func(t testing.TB) {
		const n = 50_000
		var ratios []float64
		for range 9 {
			raw := testkit.RawReceive(t, n, 1000)
			ratios = append(ratios, float64(raw)/float64(measure(t, n, 1000, Options{}, func(*Packet) {})))
		}
		slices.Sort(ratios)
		t.Logf("datagrams per CPU time, of those of the bare loop: %.2f", ratios)
		if ratio := ratios[len(ratios)/2]; ratio < 0.55 {
			t.Errorf("the median is %.2f", ratio)
		}
	})
}
