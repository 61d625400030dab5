package apmon

import "syscall"

// Without the unix calls a datagram is written through package net, whose UDP
// writes wait only where the socket's buffer is full.
func rawWrite(int, []byte) error { panic("not reached") }

func rawPending(int) error { return nil }

// Winsock's own numbers: package syscall's are inventions.
const (
	errAgain   = syscall.Errno(10035) // WSAEWOULDBLOCK
	errNoBufs  = syscall.Errno(10055) // WSAENOBUFS
	errMsgSize = syscall.Errno(10040) // WSAEMSGSIZE
	errRefused = syscall.Errno(10054) // WSAECONNRESET, which here answers an earlier datagram
)
