package receiver

import (
	"context"
	"fmt"
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

// The cost of decoding and accounts beside that of a bare loop.
func TestLongReceiveCost(t *testing.T) {
	testkit.CompareReceive(t, 0.55, func(t testing.TB, n, senders int, gate *testkit.Gate) time.Duration {
		return measure(t, n, senders, Options{}, gate, func(*Packet) {})
	})
}
