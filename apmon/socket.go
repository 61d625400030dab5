package apmon

import (
	"context"
	"net"
	"net/netip"
)

// socket writes datagrams without waiting and without allocating. The lock of its
// destination guards it, so that it is not used after close.
type socket struct {
	fd   int      // written to directly; -1 to write to conn
	conn net.Conn // nil if the socket was made by system calls, as on Linux
}

// dialer makes a connection that sends datagrams to an address.
type dialer func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)

// newSocket makes a socket connected to an address, with the dialer if there is
// one. The kernel reports refusals to a connected socket, and a write needs no
// address. It does not wait, since there is no name to look up.
func newSocket(ctx context.Context, dial dialer, addr netip.AddrPort) (*socket, error) {
	if dial == nil {
		return dialUDP(addr)
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &socket{fd: -1, conn: conn}, nil
}

// writeConn sends one datagram through package net.
func (s *socket) writeConn(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// pending returns and clears the error that the kernel holds for earlier
// datagrams: ECONNREFUSED if the host has answered that the port is closed.
func (s *socket) pending() error {
	if s.fd < 0 {
		return nil
	}
	return rawPending(s.fd)
}

func (s *socket) close() {
	if s.conn != nil {
		s.conn.Close()
		return
	}
	closeRaw(s)
}
