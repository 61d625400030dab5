package apmon

import (
	"context"
	"net"
	"net/netip"
)

// socket writes datagrams without ever waiting, and without allocating. The
// lock of its destination guards it, so that it is never used once closed.
type socket struct {
	conn net.Conn
	fd   int // of a socket of our own, else -1
}

// dialUDP makes a connected socket: the kernel reports refusals, and a write
// needs no address. No name is involved, so this does not wait.
func dialUDP(addr netip.AddrPort) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, fd: -1}
	if raw, err := conn.SyscallConn(); err == nil && ownWrite {
		// Nobody else has the connection, so the number stays valid until
		// close: package net's own locks and its waiting for a writable socket
		// are not needed.
		raw.Control(func(fd uintptr) { s.fd = int(fd) })
	}
	return s, nil
}

// newSocket makes a socket for an address, by the client's own way if it has one.
func (o *options) newSocket(ctx context.Context, addr netip.AddrPort) (*socket, error) {
	if o.dial == nil {
		return dialUDP(addr)
	}
	conn, err := o.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, fd: -1}, nil
}

// write sends one datagram. A full socket is the error EAGAIN.
func (s *socket) write(b []byte) error {
	if s.fd >= 0 {
		return rawWrite(s.fd, b)
	}
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

func (s *socket) close() { s.conn.Close() }
