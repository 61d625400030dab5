package apmon

import "syscall"

// write sends one datagram through package net, whose UDP writes wait only while
// the socket's buffer is full.
func (s *socket) write(b []byte) error { return s.writeConn(b) }

func rawPending(int) error { return nil }

// Winsock's error numbers; those of package syscall are invented.
const (
	errAgain   = syscall.Errno(10035) // WSAEWOULDBLOCK
	errNoBufs  = syscall.Errno(10055) // WSAENOBUFS
	errMsgSize = syscall.Errno(10040) // WSAEMSGSIZE
	errRefused = syscall.Errno(10054) // WSAECONNRESET: the answer to an earlier datagram
)
