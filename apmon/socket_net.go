//go:build !linux

package apmon

import (
	"net"
	"net/netip"
	"runtime"
)

func dialUDP(addr netip.AddrPort) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1, conn: conn}
	if raw, err := conn.SyscallConn(); err == nil && runtime.GOOS != "windows" {
		// The connection is not shared, so that the number stays valid until
		// close. Writing to it avoids package net's locks and its wait for a
		// writable socket.
		raw.Control(func(fd uintptr) { s.fd = int(fd) })
	}
	return s, nil
}

func closeRaw(*socket) {} // there is always a connection
