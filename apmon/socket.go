package apmon

import (
	"context"
	"net"
	"net/netip"
)

// socket writes datagrams without ever waiting, and without allocating. The
// lock of its destination guards it, so that it is never used once closed.
type socket struct {
	fd   int      // of a socket of our own, else -1
	conn net.Conn // nil on Linux, where a socket is ours from the start
}

// newSocket makes a connected socket for an address, by the client's own way
// if it has one. The kernel reports refusals to a connected socket, and a write
// needs no address. No name is involved, so this does not wait.
func (o *options) newSocket(ctx context.Context, addr netip.AddrPort) (*socket, error) {
	if o.dial == nil {
		return dialUDP(addr)
	}
	conn, err := o.dial(ctx, addr)
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

// pending returns, and clears, the error that the kernel holds for the
// datagrams sent before: ECONNREFUSED where the host has said that nobody
// listens.
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
