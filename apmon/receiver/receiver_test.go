package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
	"github.com/apmon-go/apmon/xdr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t testing.TB, addr string, o Options) *Receiver {
	t.Helper()
	r, err := Listen(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// dial returns a socket that sends to r.
func dial(t testing.TB, r *Receiver) net.Conn {
	t.Helper()
	to := r.Addr()
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	}
	c, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// datagram has the given password and sequence number.
func datagram(password string, seq int) []byte {
	d := xdr.Datagram{
		Version: "2.2.20_go", Password: password, Instance: 17, Seq: int32(seq),
		Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", seq)},
	}
	return d.Append(nil)
}

// from returns a datagram of a process.
func from(instance, seq int) []byte {
	d := xdr.Datagram{Version: xdr.Version, Instance: int32(instance), Seq: int32(seq), Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", seq)}}
	return d.Append(nil)
}

// all serves until everything that has arrived so far was handed over.
func all(t testing.TB, r *Receiver, handle func(*Packet)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Serve(ctx, handle); err != nil {
		t.Fatal(err)
	}
}

func TestServeHandsOverWhatArrivedBeforeTheEnd(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{})
	c := dial(t, r)
	const n = 200 // fits into the smallest of kernel buffers
	for i := range n {
		send(t, c, datagram("", i))
	}
	seq := 0
	all(t, r, func(p *Packet) {
		switch {
		case p.Err != nil:
			t.Errorf("refused: %v", p.Err)
		case int(p.Datagram.Seq) != seq || p.Datagram.Params[0].Int() != int64(seq):
			t.Errorf("datagram %d holds %+v", seq, p.Datagram)
		case p.From.String() != c.LocalAddr().String():
			t.Errorf("from %v, want %v", p.From, c.LocalAddr())
		case time.Since(p.Received) > time.Minute:
			t.Errorf("received at %v", p.Received)
		}
		if seq++; p.Waiting > n-seq || seq == n && p.Waiting != 0 {
			t.Errorf("%d waiting after %d of %d", p.Waiting, seq, n)
		}
	})
	if seq != n {
		t.Errorf("%d datagrams, want %d", seq, n)
	}
	if s := r.Stats(); s.Received != n || s.Dropped != 0 || s.Lost != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ listen, send string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"localhost:0", "127.0.0.1"},
		{":0", "127.0.0.1"},
		{":0", "::1"},
		{"[::1]:0", "::1"},
	} {
		t.Run(c.listen+" from "+c.send, func(t *testing.T) {
			if c.send == "::1" {
				probe, err := net.ListenPacket("udp", "[::1]:0")
				if err != nil {
					t.Skip("no IPv6 here: ", err)
				}
				probe.Close()
			}
			r := listen(t, c.listen, Options{})
			if r.Addr().Port() == 0 {
				t.Errorf("Addr is %v", r.Addr())
			}
			conn, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(c.send), r.Addr().Port()).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			send(t, conn, datagram("", 1))
			all(t, r, func(p *Packet) {
				if p.From.String() != conn.LocalAddr().String() {
					t.Errorf("from %v, want %v", p.From, conn.LocalAddr())
				}
			})
			senders := r.Senders()
			if len(senders) != 1 || senders[0].Addr.String() != c.send || senders[0].Received != 1 {
				t.Errorf("senders %+v", senders)
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	taken := listen(t, "127.0.0.1:0", Options{}).Addr().String()
	for _, c := range []struct {
		addr string
		want []string
	}{
		{taken, []string{taken, "address already in use"}},
		{"192.0.2.1:8884", []string{"192.0.2.1:8884", "cannot assign requested address"}},
		{"127.0.0.1", []string{"127.0.0.1", "missing port"}},
		{"127.0.0.1:99999", []string{"99999", "invalid port"}},
	} {
		r, err := Listen(c.addr, Options{})
		if err == nil {
			r.Close()
			t.Errorf("%s: bound", c.addr)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", c.addr, err, want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{})
	c := dial(t, r)
	send(t, c, nil)
	send(t, c, []byte("garbage"))
	send(t, c, datagram("", 1)[:20])
	send(t, c, make([]byte, 60_000))
	send(t, c, datagram("", 2))
	var errs []error
	all(t, r, func(p *Packet) {
		errs = append(errs, p.Err)
		if (p.Err == nil) != (p.Datagram != nil) {
			t.Errorf("error %v and datagram %v", p.Err, p.Datagram)
		}
	})
	if len(errs) != 5 || errs[4] != nil {
		t.Fatalf("errors: %v", errs)
	}
	for i, err := range errs[:4] {
		if _, ok := err.(*xdr.DecodeError); !ok {
			t.Errorf("datagram %d: error %v", i, err)
		}
	}
	if s := r.Stats(); s.Received != 1 || s.Refused != 4 {
		t.Errorf("stats %+v", s)
	}
}

// The live Java client declares more parameters than it sends: those are handed
// over, and nothing is counted as lost. Of all others header, cluster and node
// are there.
func TestTruncated(t *testing.T) {
	password := "secret-A"
	r := listen(t, "127.0.0.1:0", Options{Password: &password})
	c := dial(t, r)
	short := func(password string, seq int) []byte {
		b := datagram(password, seq)
		i := bytes.Index(b, []byte("N\x00\x00\x00\x00\x00\x00\x01")) // the node, and the number of parameters
		b[i+7] = 39
		return b
	}
	send(t, c, datagram("secret-A", 1))
	send(t, c, short("secret-A", 2))
	send(t, c, datagram("secret-A", 3))
	send(t, c, short("secret-B", 4))
	send(t, c, datagram("secret-A", 5)[:54])
	n := 0
	all(t, r, func(p *Packet) {
		n++
		d := p.Datagram
		switch truncated := errors.Is(p.Err, xdr.ErrTruncated); {
		case n == 2 && (!truncated || d == nil || p.Refused != nil || len(d.Params) != 1 || d.Params[0].Int() != 2):
			t.Errorf("truncated: %+v, %v", d, p.Err)
		case n > 3 && (truncated || d != nil || p.Refused == nil):
			t.Errorf("refused: %+v, %v", d, p.Err)
		case n > 3:
			if d := p.Refused; d.Seq != int32(n) || d.Cluster != "C" || d.Node != "N" || len(d.Params) != 0 {
				t.Errorf("refused: %+v, %v", d, p.Err)
			}
		}
	})
	want := Counts{Received: 3, Truncated: 1, Refused: 2}
	if s := r.Stats(); n != 5 || s.Counts != want {
		t.Errorf("%d datagrams, stats %+v", n, s)
	}
}

func TestPassword(t *testing.T) {
	str := func(s string) *string { return &s }
	for _, c := range []struct {
		want *string
		sent string
		ok   bool
	}{
		{nil, "", true},
		{nil, "anything", true},
		{str("secret-A"), "secret-A", true},
		{str("secret-A"), " secret-A\t", true},
		{str("secret-A\r\n"), "secret-A", true},
		{str("secret-A"), "secret-B", false},
		{str("secret-A"), "Secret-A", false},
		{str("secret-A"), "secret-AA", false},
		{str("secret-A"), "", false},
		{str(""), "", true},
		{str(""), " ", true},
		{str(""), "secret-B", false},
	} {
		name := "any"
		if c.want != nil {
			name = fmt.Sprintf("%q", *c.want)
		}
		t.Run(fmt.Sprintf("%s and %q", name, c.sent), func(t *testing.T) {
			r := listen(t, "127.0.0.1:0", Options{Password: c.want})
			send(t, dial(t, r), datagram(c.sent, 1))
			n := 0
			all(t, r, func(p *Packet) {
				n++
				switch {
				case c.ok && p.Err == nil:
				case c.ok:
					t.Errorf("refused: %v", p.Err)
				case !errors.Is(p.Err, ErrPassword) || p.Datagram != nil:
					t.Errorf("error %v, datagram %v", p.Err, p.Datagram)
				case strings.Contains(strings.ToLower(p.Err.Error()), "secret-"):
					t.Errorf("the error tells a password: %v", p.Err)
				}
			})
			if n != 1 {
				t.Errorf("%d datagrams, want 1", n)
			}
		})
	}
}

func TestCloseEndsServe(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{})
	send(t, dial(t, r), datagram("", 1))
	n := 0
	if err := r.Serve(t.Context(), func(*Packet) { n++; r.Close() }); err != nil || n != 1 {
		t.Errorf("%d datagrams, error %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := r.Serve(t.Context(), nil); !errors.Is(err, ErrServed) {
		t.Errorf("second Serve: %v", err)
	}
	if s := r.Stats(); s.Received != 1 {
		t.Errorf("stats after Close: %+v", s)
	}
}

func TestServeAfterClose(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{})
	r.Close()
	if err := r.Serve(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestPanicIsNotSwallowed(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{})
	send(t, dial(t, r), datagram("", 1))
	defer func() {
		if got := recover(); got != "handler's own" {
			t.Errorf("recovered %v", got)
		}
		listen(t, r.Addr().String(), Options{}) // it is free again
	}()
	_ = r.Serve(t.Context(), func(*Packet) { panic("handler's own") })
	t.Error("Serve returned")
}

// script replaces the socket's reads. It calls before(i) before it returns the
// i-th of n datagrams, and ends as a closed socket does.
func script(n int, b []byte, before func(i int) error) func() ([]queue.Item, error) {
	i := 0
	items := []queue.Item{{From: netip.MustParseAddrPort("192.0.2.1:1234"), Data: b}}
	return func() ([]queue.Item, error) {
		if before != nil {
			if err := before(i); err != nil {
				return nil, err
			}
		}
		if i == n {
			return nil, net.ErrClosed
		}
		i++
		items[0].At = time.Now()
		return items, nil
	}
}

func TestSlowHandlerLosesAreCounted(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		length int
		want   int // handled, beside the one in the hands of the handler
	}{
		{"by count", Options{QueueLen: 11}, 100, 10},
		{"by bytes", Options{QueueBytes: 11 * 1200}, 1000, 10},
		{"by bytes of large ones", Options{QueueBytes: 4*61_000 + 12_000}, 60000, 3},
		{"one always fits", Options{QueueBytes: 1}, 1000, 0},
		{"all fit", Options{}, 1000, 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := listen(t, "127.0.0.1:0", c.o)
			busy, exhausted := make(chan bool), make(chan bool)
			r.sockets[0].read = script(100, make([]byte, c.length), func(i int) error {
				switch i {
				case 1: // the handler has got the first one
					<-busy
				case 100:
					close(exhausted)
				}
				return nil
			})
			handled := 0
			err := r.Serve(t.Context(), func(p *Packet) {
				if handled++; handled == 1 {
					close(busy)
					<-exhausted
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if handled != 1+c.want {
				t.Errorf("%d handled, want %d", handled, 1+c.want)
			}
			if s := r.Stats(); s.Dropped != uint64(100-handled) || s.Refused != uint64(handled) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	refused := &net.OpError{Op: "read", Err: syscall.ECONNREFUSED}
	t.Run("passing ones are survived", func(t *testing.T) {
		r := listen(t, "127.0.0.1:0", Options{})
		fails := 0
		r.sockets[0].read = script(10, datagram("", 1), func(i int) error {
			if fails++; fails%3 != 0 {
				return refused
			}
			return nil
		})
		n := 0
		if err := r.Serve(t.Context(), func(*Packet) { n++ }); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); n != 10 || s.ReadErrors != 22 {
			t.Errorf("%d datagrams, stats %+v", n, s)
		}
	})
	t.Run("lasting ones are slowed down, then reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, err := Listen("127.0.0.1:0", Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.sockets[0].read = script(0, nil, func(int) error { return refused })
			begin := time.Now()
			err = r.Serve(context.Background(), func(*Packet) {})
			if took := time.Since(begin); !errors.Is(err, syscall.ECONNREFUSED) || took < 10*time.Second || took > 30*time.Second {
				t.Errorf("error %v after %v", err, took)
			}
		})
	})
	t.Run("a pause ends with the context", func(t *testing.T) {
		r := listen(t, "127.0.0.1:0", Options{})
		ctx, cancel := context.WithCancel(t.Context())
		fails := 0
		r.sockets[0].read = script(0, nil, func(int) error {
			if fails++; fails == 20 {
				cancel()
			}
			return refused
		})
		if err := r.Serve(ctx, func(*Packet) {}); err != nil {
			t.Error(err)
		}
	})
}

// needKernel skips a test where the memory and the drops of sockets are not reported: on systems
// other than Linux, and in emulators, for which .ci/run sets APMON_EMULATED.
func needKernel(t *testing.T, s Stats) {
	t.Helper()
	switch {
	case s.KernelKnown:
	case runtime.GOOS != "linux" || os.Getenv("APMON_EMULATED") != "":
		t.Skip("the kernel, or its emulator, does not report on sockets")
	default:
		t.Fatal("the kernel does not report on sockets (set APMON_EMULATED=1 in an emulator)")
	}
}

// All datagrams that one socket sends as fast as it can arrive: in the kernel's buffer, then in
// the queue. Where the kernel does not grant the buffer, each that it drops is counted.
func TestBurst(t *testing.T) {
	const n = 20_000
	r := listen(t, "127.0.0.1:0", Options{})
	c := dial(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for i := range n {
			if _, err := c.Write(datagram("", i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	handled := uint64(0)
	if err := r.Serve(ctx, func(p *Packet) {
		if p.Err == nil {
			handled++
		}
	}); err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.ReadBuffer >= DefaultReadBuffer {
		if handled != n || s.Lost != 0 {
			t.Errorf("%d of %d, stats %+v", handled, n, s)
		}
		return
	}
	needKernel(t, s)
	t.Logf("the kernel gives a buffer of only %d bytes: it dropped %d of %d", s.ReadBuffer, s.KernelDropped, n)
	if handled+s.KernelDropped+s.Dropped != n {
		t.Errorf("%d received, %d dropped by the kernel, %d by the queue: not %d in all", handled, s.KernelDropped, s.Dropped, n)
	}
}

// The path of a datagram from buffer to handler allocates nothing.
func TestAdmitAllocatesNothing(t *testing.T) {
	password := "secret"
	r := listen(t, "127.0.0.1:0", Options{Password: &password})
	var d xdr.Datagram
	seq := 0
	raw := datagram(password, 1)
	p := Packet{From: netip.MustParseAddrPort("192.0.2.1:1234"), Received: time.Now(), Raw: raw}
	if got := testing.AllocsPerRun(1000, func() {
		seq++
		p.Err, p.Datagram = nil, nil
		r.admit(&p, &d)
	}); got != 0 {
		t.Errorf("%v allocations per datagram", got)
	}
	if p.Err != nil {
		t.Error(p.Err)
	}
}

// BenchmarkServe measures the way from queue to handler and the reading
// goroutine, without the socket.
func BenchmarkServe(b *testing.B) {
	r := listen(b, "127.0.0.1:0", Options{QueueLen: b.N + 1, QueueBytes: 1 << 30})
	r.sockets[0].read = script(b.N, datagram("", 1), nil)
	b.ReportAllocs()
	n := 0
	if err := r.Serve(b.Context(), func(*Packet) { n++ }); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(r.Stats().Dropped)/float64(b.N), "dropped/op")
}
