package receiver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Each datagram for a small receive buffer is received or counted as dropped by the kernel,
// for all sockets together.
func TestKernelDropsAreKnown(t *testing.T) {
	t.Parallel()
	for _, sockets := range []int{1, 3} {
		r := listen(t, "127.0.0.1:0", Options{ReadBuffer: 1, Sockets: sockets})
		conns := ports(t, r, 20)
		const n = 1000
		for i := range n {
			send(t, conns[i%len(conns)], datagram("", i))
		}
		before := r.Stats()
		all(t, r, func(*Packet) {})
		s := r.Stats()
		needKernel(t, s)
		if before.KernelQueued == 0 || before.KernelDropped != s.KernelDropped || s.KernelQueued != 0 {
			t.Errorf("%d sockets: before %+v, after %+v", sockets, before, s)
		}
		if s.KernelDropped == 0 || s.Received+s.KernelDropped != n {
			t.Errorf("%d sockets: %d received, %d dropped, %d sent; buffers of %d bytes", sockets, s.Received, s.KernelDropped, n, s.ReadBuffer)
		}
		r.Close()
		if closed := r.Stats(); closed.KernelDropped != s.KernelDropped || !closed.KernelKnown || closed.KernelQueued != 0 {
			t.Errorf("after Close: %+v, before: %+v", closed, s)
		}
	}
}

// Datagrams that wait when the receiver is closed are not held after that.
func TestNothingIsQueuedAfterClose(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{})
	send(t, dial(t, r), datagram("", 1))
	if s := r.Stats(); s.KernelQueued == 0 && s.KernelKnown {
		t.Errorf("%+v", s)
	}
	r.Close()
	if s := r.Stats(); s.KernelQueued != 0 {
		t.Errorf("%+v", s)
	}
}

// Datagrams that the kernel dropped are lost ones of their sender, also in the report.
func TestKernelDropsAreReported(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{ReadBuffer: 1})
	needKernel(t, r.Stats())
	report := r.NewReport("N")
	conn := dial(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	const n = 1000
	for i := range n {
		send(t, conn, datagram("", i))
	}
	served := make(chan error)
	go func() { served <- r.Serve(ctx, func(*Packet) {}) }()
	testkit.Eventually(t, "an empty buffer", func() bool {
		s := r.Stats()
		return s.Received+s.KernelDropped == n
	})
	send(t, conn, datagram("", n)) // ends the gap
	testkit.Eventually(t, "a gap", func() bool { return r.Stats().Lost > 0 })
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.Lost != s.KernelDropped || s.Lost == 0 {
		t.Errorf("%+v", s)
	}
	if p := report.Packet(time.Now(), s).Datagram.Params[0]; p.Int() != int64(s.Lost) || !strings.HasSuffix(p.Name, "_lostDatagrams") {
		t.Errorf("the report has %v", p)
	}
}

func TestKernelDropsWrap(t *testing.T) {
	t.Parallel()
	var k kernelMemory
	for _, drops := range []uint32{5, 1<<32 - 1, 3, 3} {
		k.update(1, drops)
	}
	if k.drops != 1<<32+3 {
		t.Errorf("%d drops", k.drops)
	}
}

func BenchmarkStats(b *testing.B) {
	r := listen(b, "127.0.0.1:0", Options{Sockets: 4})
	b.ReportAllocs()
	for b.Loop() {
		r.Stats()
	}
}
