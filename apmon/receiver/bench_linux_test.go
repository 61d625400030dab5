package receiver

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
	"github.com/apmon-go/apmon/internal/testkit"
)

// measure returns the CPU time in which a receiver handles n datagrams. The gate may be nil.
func measure(t testing.TB, n, senders int, o Options, gate *testkit.Gate, handle func(*Packet)) time.Duration {
	r := listen(t, "127.0.0.1:0", o)
	if gate != nil {
		s, got := r.sockets[0], 0
		read := s.read
		s.read = func() ([]queue.Item, error) {
			gate.Wait(int64(got))
			items, err := read()
			got += len(items)
			return items, err
		}
	}
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
	took := testkit.SendAll(t, r.Addr().String(), n, senders, testkit.UnderWay(r.sockets[0].readBuffer), &received, gate)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Received != uint64(n) || s.Lost > 0 || s.Duplicate > 0 {
		t.Errorf("of %d: %+v", n, s)
	}
	return took
}

// benchmarkReceive measures datagrams that wait when they are read, and those of a sender that
// sends while they are read; of one process, and of many.
func benchmarkReceive(b *testing.B, measure func(b *testing.B, senders int, gate *testkit.Gate) time.Duration) {
	for _, name := range []string{"waiting", "stream"} {
		for _, senders := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/senders=%d", name, senders), func(b *testing.B) {
				var gate *testkit.Gate
				if name == "waiting" {
					gate = testkit.NewGate()
				}
				took := measure(b, senders, gate)
				b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/datagram")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkRawReceive is the floor of BenchmarkReceive: a bare loop of recvmmsg over the same
// datagrams. Both report the CPU time of the process without the sending thread.
func BenchmarkRawReceive(b *testing.B) {
	benchmarkReceive(b, func(b *testing.B, senders int, gate *testkit.Gate) time.Duration {
		return testkit.RawReceive(b, b.N, senders, gate)
	})
}

// BenchmarkReceive decodes and accounts.
func BenchmarkReceive(b *testing.B) {
	benchmarkReceive(b, func(b *testing.B, senders int, gate *testkit.Gate) time.Duration {
		return measure(b, b.N, senders, Options{}, gate, func(*Packet) {})
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
			raw := testkit.RawReceive(t, n, 1000, testkit.NewGate())
			own := measure(t, n, 1000, Options{}, testkit.NewGate(), func(*Packet) {})
			ratios = append(ratios, float64(raw)/float64(own))
		}
		slices.Sort(ratios)
		if ratio := ratios[len(ratios)/2]; ratio < 0.55 {
			t.Errorf("the median is %.2f of %.2f", ratio, ratios)
		}
	})
}
