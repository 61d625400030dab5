package testkit

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Listener is a UDP socket that a test reads. Datagrams stay in the kernel until
// they are read.
type Listener struct {
	*net.UDPConn
	t testing.TB
}

// Listen opens a socket on a free port of loopback, which is closed at the end of
// the test.
func Listen(t testing.TB) *Listener {
	t.Helper()
	return ListenAt(t, "127.0.0.1:0")
}

// ListenAt is [Listen] for a given address and port.
func ListenAt(t testing.TB, addr string) *Listener {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Listener{conn, t}
}

// Name returns the address in the form ADDRESS:PORT.
func (l *Listener) Name() string { return l.LocalAddr().String() }

// Next returns the next datagram. On loopback it arrives before the call that
// sends it returns.
func (l *Listener) Next() *xdr.Datagram {
	l.t.Helper()
	b := make([]byte, 65536)
	l.SetReadDeadline(time.Now().Add(Patience))
	n, err := l.Read(b)
	if err != nil {
		l.t.Fatal(err)
	}
	d, err := xdr.Parse(b[:n])
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

// None fails the test if a datagram has arrived that was not read.
func (l *Listener) None() {
	l.t.Helper()
	l.SetReadDeadline(time.Now())
	if n, err := l.Read(make([]byte, 65536)); err == nil {
		l.t.Errorf("a datagram of %d bytes was sent", n)
	}
}

// Refusing returns an address of loopback that refuses datagrams until the end of the
// test: its socket is connected, so it only accepts those of one other address.
func Refusing(t testing.TB) string {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}
