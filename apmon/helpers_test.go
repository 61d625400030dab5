package apmon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// fakeNet replaces the resolver and the sockets, so that a test can simulate time.
type fakeNet struct {
	mu      sync.Mutex
	hosts   map[string]func(context.Context) ([]netip.Addr, error)
	write   func(addr netip.AddrPort, b []byte) error // nil accepts all
	dialErr error
	dials   []netip.AddrPort
	closed  int
	got     map[netip.AddrPort][]*xdr.Datagram
}

func (n *fakeNet) options() []Option {
	return []Option{WithResolver(n.resolve), WithDialer(n.dial)}
}

func (n *fakeNet) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	f := n.hosts[host]
	n.mu.Unlock()
	if f == nil {
		return nil, errors.New("no such host")
	}
	return f(ctx)
}

// answer makes a host resolve to the addresses.
func (n *fakeNet) answer(host string, addrs ...string) {
	var ips []netip.Addr
	for _, a := range addrs {
		ips = append(ips, netip.MustParseAddr(a))
	}
	n.set(host, func(context.Context) ([]netip.Addr, error) { return ips, nil })
}

func (n *fakeNet) set(host string, f func(context.Context) ([]netip.Addr, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[string]func(context.Context) ([]netip.Addr, error){}
	}
	n.hosts[host] = f
}

// hang is a resolver that returns only when the context ends.
func hang(ctx context.Context) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (n *fakeNet) dial(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, addr)
	if n.dialErr != nil {
		return nil, n.dialErr
	}
	return &fakeConn{n: n, addr: addr}, nil
}

// seqs returns the sequence numbers that arrived at an address.
func (n *fakeNet) seqs(addr string) []int32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var seqs []int32
	for _, d := range n.got[mustAddr(addr)] {
		seqs = append(seqs, d.Seq)
	}
	return seqs
}

type fakeConn struct {
	net.Conn
	n    *fakeNet
	addr netip.AddrPort
}

func (f *fakeConn) Write(b []byte) (int, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if f.n.write != nil {
		if err := f.n.write(f.addr, b); err != nil {
			return 0, err
		}
	}
	d, err := xdr.Parse(b)
	if err != nil {
		return 0, err
	}
	if f.n.got == nil {
		f.n.got = map[netip.AddrPort][]*xdr.Datagram{}
	}
	f.n.got[f.addr] = append(f.n.got[f.addr], d)
	return len(b), nil
}

func (f *fakeConn) Close() error {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	f.n.closed++
	return nil
}

// config makes a configuration of destination lines.
func config(t testing.TB, lines ...string) conf.Config {
	t.Helper()
	var c conf.Config
	for _, l := range lines {
		if err := c.AddLine(l); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// client makes a client that is closed with the test.
func client(t testing.TB, cfg conf.Config, opts ...Option) *Client {
	t.Helper()
	c, err := New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func mustAddr(addr string) netip.AddrPort { return netip.MustParseAddrPort(addr) }
