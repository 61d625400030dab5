package receiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
	"github.com/apmon-go/apmon/internal/testkit"
)

// ports returns sockets that send to r from so many source ports.
func ports(t testing.TB, r *Receiver, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, r)
	}
	return conns
}

// isFree binds a port with several sockets. A parallel test may have it for a moment.
func isFree(t *testing.T, addr string) {
	t.Helper()
	testkit.Eventually(t, "the port "+addr, func() bool {
		r, err := Listen(addr, Options{Sockets: 2})
		if err == nil {
			r.Close()
		}
		return err == nil
	})
}

// A port that is in use is an error, however many sockets either receiver has.
func TestSecondReceiverFails(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.0.0.1", ""}
	if probe, err := net.ListenPacket("udp", "[::1]:0"); err == nil {
		probe.Close()
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		for _, first := range []int{1, 2, 3} {
			r := listen(t, net.JoinHostPort(host, "0"), Options{Sockets: first})
			addr := net.JoinHostPort(host, fmt.Sprint(r.Addr().Port()))
			for _, second := range []int{1, 2} {
				s, err := Listen(addr, Options{Sockets: second})
				if err == nil {
					s.Close()
				}
				if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), fmt.Sprint(r.Addr().Port())) {
					t.Errorf("%d sockets on %s after %d: %v", second, addr, first, err)
				}
			}
			if c, err := net.ListenPacket("udp", addr); err == nil {
				c.Close()
				t.Errorf("another program binds %s after %d sockets", addr, first)
			}
			// The failed attempts took nothing away.
			for _, c := range ports(t, r, 20) {
				send(t, c, datagram("", 1))
			}
			all(t, r, func(*Packet) {})
			if n := r.Stats().Received; n != 20 {
				t.Errorf("%d of 20 datagrams received", n)
			}
			r.Close()
			isFree(t, addr)
		}
	}
}

// counting is a handler for several sockets.
type counting struct {
	mu      sync.Mutex
	handled int
	byPort  map[uint16][]int32 // sequence numbers by source port
}

func (c *counting) handle(p *Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled++
	if c.byPort == nil {
		c.byPort = make(map[uint16][]int32)
	}
	if p.Datagram != nil {
		c.byPort[p.From.Port()] = append(c.byPort[p.From.Port()], p.Datagram.Seq)
	}
}

// spread returns the number of sockets that datagrams wait in. It skips the test in an emulator
// that does not report that.
func spread(t *testing.T, r *Receiver) int {
	t.Helper()
	needKernel(t, r.Stats())
	used := 0
	for _, s := range r.sockets {
		if s.memory().held > 0 {
			used++
		}
	}
	return used
}

// goroutine returns the number of the calling goroutine.
func goroutine() string {
	b := make([]byte, 64)
	return strings.Fields(string(b[:runtime.Stack(b, false)]))[1]
}

func TestDefaultSockets(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for cpus, want := range map[int]int{1: 1, 8: 1, 15: 1, 16: 2, 24: 3, 32: 4, 64: 4} {
		runtime.GOMAXPROCS(cpus)
		if got := DefaultSockets(); got != want {
			t.Errorf("%d sockets on %d CPUs, want %d", got, cpus, want)
		}
	}
	if n := len(listen(t, "127.0.0.1:0", Options{}).sockets); n != 1 {
		t.Errorf("%d sockets without the option", n)
	}
}

func TestSeveralSockets(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 3})
	conns := ports(t, r, 60)
	const each = 8 // an ordinary user gets small buffers
	for seq := range each {
		for i, c := range conns {
			send(t, c, from(i, seq))
		}
	}
	if n := spread(t, r); n != 3 {
		t.Errorf("%d of 3 sockets are used", n)
	}
	before := r.Stats()
	if before.Sockets != 3 || !before.KernelKnown || before.KernelQueued < len(conns)*each*100 || before.KernelQueued > before.ReadBuffer || before.KernelDropped != 0 {
		t.Errorf("stats before: %+v", before)
	}
	var c counting
	all(t, r, c.handle)
	for port, seqs := range c.byPort {
		if len(seqs) != each || !slices.IsSorted(seqs) {
			t.Errorf("port %d: %v", port, seqs)
		}
	}
	s := r.Stats()
	if c.handled != len(conns)*each || s.Received != uint64(c.handled) || s.Lost+s.Reordered+s.Duplicate > 0 || s.KernelQueued != 0 || s.Queued != 0 || s.ActiveSenders != len(conns) {
		t.Errorf("%d handled, stats %+v", c.handled, s)
	}
}

// The handler of one socket does not wait for that of another.
func TestSocketsAreHandledConcurrently(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 2})
	for _, c := range ports(t, r, 40) {
		send(t, c, datagram("", 1))
	}
	if spread(t, r) != 2 {
		t.Fatal("one socket is not used")
	}
	var both sync.WaitGroup
	both.Add(2)
	var first sync.Map // by goroutine
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var n atomic.Int64
	err := r.Serve(ctx, func(p *Packet) {
		n.Add(1)
		if p.Waiting > 40 {
			t.Errorf("%d waiting", p.Waiting)
		}
		if _, again := first.LoadOrStore(goroutine(), true); !again {
			both.Done()
			both.Wait() // forever if it were one goroutine
		}
	})
	if err != nil || n.Load() != 40 {
		t.Errorf("%d handled, %v", n.Load(), err)
	}
}

// A process that opens a new socket continues its sequence on another socket of the
// receiver.
func TestRestartedSocketIsOneSender(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 4})
	if len(r.accounts.shards) != maxShards {
		t.Fatalf("%d parts of accounts", len(r.accounts.shards))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	var c counting
	go func() { done <- r.Serve(ctx, c.handle) }()
	const sockets, each = 30, 10
	seq := 0
	for _, conn := range ports(t, r, sockets) {
		for range each {
			seq++
			send(t, conn, from(4711, seq))
		}
		testkit.Eventually(t, "the datagrams of a port", func() bool { return r.Stats().Received == uint64(seq) })
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := r.Senders()
	if len(got) != 1 || got[0].Instance != 4711 || got[0].Counts != (Counts{Received: sockets * each}) {
		t.Errorf("senders %+v", got)
	}
}

// Many processes share one address, and each has its account.
func TestProcessesBehindOneAddress(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 4})
	const instances = 150
	conns := ports(t, r, 10)
	for seq := 1; seq <= 4; seq++ {
		for i := range instances {
			if seq == 3 && i%3 == 0 {
				continue // lost on the way
			}
			send(t, conns[i%len(conns)], from(1000+i, seq))
		}
	}
	all(t, r, new(counting).handle)
	got := r.Senders()
	if len(got) != instances {
		t.Fatalf("%d senders, want %d", len(got), instances)
	}
	for i, s := range got {
		want := Counts{Received: 4}
		if i%3 == 0 {
			want = Counts{Received: 3, Lost: 1}
		}
		if s.Instance != int32(1000+i) || s.Counts != want {
			t.Errorf("sender %d: %+v", i, s)
		}
	}
	if s := r.Stats(); s.Lost != instances/3 || s.ActiveSenders != instances {
		t.Errorf("stats %+v", s)
	}
}

// One sender has one port, and so one socket, which carries everything.
func TestOneSenderCarriesEverything(t *testing.T) {
	n := 20_000
	if testkit.Race {
		n /= 10
	}
	if took := measure(t, n, 1, Options{Sockets: 3}, nil, func(*Packet) {}); took <= 0 {
		t.Errorf("CPU time of %v", took)
	}
}

// A handler of any socket may close the receiver: all others end, too.
func TestCloseFromAnySocket(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 3})
	for _, c := range ports(t, r, 30) {
		send(t, c, datagram("", 1))
	}
	main := goroutine()
	var others atomic.Int64
	err := r.Serve(t.Context(), func(*Packet) {
		if goroutine() != main {
			others.Add(1)
			r.Close()
		}
	})
	if err != nil || others.Load() == 0 {
		t.Errorf("%d datagrams of other sockets, error %v", others.Load(), err)
	}
	if s := r.Stats(); s.Received == 0 || s.ReadErrors > 0 || s.Queued > 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestPanicOnAnySocket(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Sockets: 2})
	for _, c := range ports(t, r, 40) {
		send(t, c, datagram("", 1))
	}
	main := goroutine()
	defer func() {
		if got := recover(); got != "handler's own" {
			t.Errorf("recovered %v", got)
		}
		isFree(t, r.Addr().String())
	}()
	_ = r.Serve(t.Context(), func(*Packet) {
		if goroutine() != main {
			panic("handler's own")
		}
	})
	t.Error("Serve returned")
}

// A socket that fails for good ends the others.
func TestOneSocketFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Listen("127.0.0.1:0", Options{Sockets: 2})
		if err != nil {
			t.Fatal(err)
		}
		// Reads of real sockets are no part of simulated time.
		r.sockets[0].read = func() ([]queue.Item, error) {
			<-r.closed
			return nil, net.ErrClosed
		}
		r.sockets[1].read = func() ([]queue.Item, error) { return nil, syscall.EIO }
		if err := r.Serve(t.Context(), func(*Packet) {}); !errors.Is(err, syscall.EIO) {
			t.Errorf("error %v", err)
		}
		listen(t, r.Addr().String(), Options{}).Close() // it is free again
	})
}

// Rules and passwords are replaced while datagrams arrive: each is decided by one of them, and
// none is lost.
func TestReplacingLosesNothing(t *testing.T) {
	t.Parallel()
	open, closed := rules(t, "* allow"), rules(t, "127.0.0.1 deny")
	none, wrong := "", "wrong" // the datagrams have no password
	for _, c := range []struct {
		name    string
		refusal error
		replace func(r *Receiver, i int)
	}{
		{"access", ErrAccess, func(r *Receiver, i int) { r.SetAccess([]*Access{closed, open, nil}[i%3]) }},
		{"password", ErrPassword, func(r *Receiver, i int) { r.SetPassword([]*string{&wrong, &none, nil}[i%3]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			replacing(t, c.refusal, c.replace)
		})
	}
}

func replacing(t *testing.T, refusal error, replace func(r *Receiver, i int)) {
	n := 20_000
	if testkit.Race {
		n /= 10
	}
	r := listen(t, "127.0.0.1:0", Options{Sockets: 2})
	var handled, accepted, refused atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served, swapped := make(chan error), make(chan bool)
	go func() {
		served <- r.Serve(ctx, func(p *Packet) {
			switch {
			case p.Datagram != nil:
				accepted.Add(1)
			case errors.Is(p.Err, refusal):
				refused.Add(1)
			default:
				t.Errorf("%v", p.Err)
			}
			handled.Add(1)
		})
	}()
	go func() {
		defer close(swapped)
		for i := 0; ctx.Err() == nil; i++ {
			replace(r, i)
			// A while, in datagrams.
			for end := handled.Load() + 50; handled.Load() < end && ctx.Err() == nil; {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}()
	testkit.SendAll(t, r.Addr().String(), n, 10, testkit.UnderWay(r.sockets[0].readBuffer), &handled, nil)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-swapped
	if a, b := accepted.Load(), refused.Load(); a+b != int64(n) || a == 0 || b == 0 {
		t.Errorf("%d accepted and %d refused of %d", a, b, n)
	}
	if s := r.Stats(); s.Dropped+s.KernelDropped > 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestReaderDecodesAddresses(t *testing.T) {
	t.Parallel()
	v6 := func(addr string, scope byte) []byte {
		a := netip.MustParseAddr(addr).As16()
		return append(append([]byte{10, 0, 0x22, 0xb4, 0, 0, 0, 0}, a[:]...), scope, 0, 0, 0)
	}
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Skip(err)
	}
	var r reader
	for _, c := range []struct {
		name []byte
		want string
	}{
		{[]byte{2, 0, 0x22, 0xb4, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0}, "192.0.2.1:8884"},
		{v6("2001:db8::1", 0), "[2001:db8::1]:8884"},
		{v6("::ffff:192.0.2.1", 0), "192.0.2.1:8884"},
		{v6("fe80::1", 1), "[fe80::1%" + lo.Name + "]:8884"},
		{v6("fe80::1", 1), "[fe80::1%" + lo.Name + "]:8884"},
		{v6("fe80::1", 250), "[fe80::1%250]:8884"},
		{nil, "invalid AddrPort"},
		{v6("2001:db8::1", 0)[:20], "invalid AddrPort"},
	} {
		if got := r.addr(c.name).String(); got != c.want {
			t.Errorf("%x: %s, want %s", c.name, got, c.want)
		}
	}
}

// Datagrams are read in batches, with one time each.
func TestBatchesHaveOneTime(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{})
	c := dial(t, r)
	const n = 4 * batch
	for i := range n {
		send(t, c, datagram("", i))
	}
	times := make(map[time.Time]int)
	all(t, r, func(p *Packet) { times[p.Received]++ })
	for at, n := range times {
		if n%batch != 0 {
			t.Errorf("%d datagrams at %v, want %d", n, at, batch)
		}
	}
}
