package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/internal/testkit"
)

// measure returns the CPU time in which the receiver writes n datagrams as lines of JSON.
func measure(t testing.TB, n, senders int, gate *testkit.Gate) time.Duration {
	t.Helper()
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	br := newBridge(command.Escape(io.Discard), slog.New(slog.DiscardHandler))
	if err := br.apply(t.Context(), settings{Format: "json"}); err != nil {
		t.Fatal(err)
	}
	var received atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error)
	go func() {
		served <- r.Serve(ctx, func(p *receiver.Packet) {
			br.offer(p)
			received.Add(1)
		})
	}()
	took := testkit.SendAll(t, r.Addr().String(), n, senders, testkit.UnderWay(r.Stats().ReadBuffer), &received, gate)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if stats, err := br.close(); err != nil || stats[0].Sent != uint64(n) {
		t.Errorf("of %d: %+v, %v", n, stats, err)
	}
	return took
}

// BenchmarkJSON receives datagrams of 10 parameters and writes them as lines of JSON. It
// reports the CPU time of the process without the sending thread.
func BenchmarkJSON(b *testing.B) {
	for _, senders := range []struct {
		name string
		n    int
	}{{"senders=1", 1}, {"senders=1000", 1000}} {
		b.Run(senders.name, func(b *testing.B) {
			b.ReportAllocs()
			took := measure(b, b.N, senders.n, nil)
			b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/datagram")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRawReceive is the floor of BenchmarkJSON: a bare loop of recvmmsg.
func BenchmarkRawReceive(b *testing.B) {
	took := testkit.RawReceive(b, b.N, 1000, nil)
	b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/datagram")
	b.ReportMetric(0, "ns/op")
}
