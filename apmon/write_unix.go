//go:build unix && (!linux || 386 || s390x)

package apmon

import "syscall"

// write sends one datagram; the socket is non-blocking. A full socket is the
// error EAGAIN.
func (s *socket) write(b []byte) error {
	if s.fd < 0 {
		return s.writeConn(b)
	}
	for {
		_, err := syscall.Write(s.fd, b)
		if err != syscall.EINTR {
			return err
		}
	}
}
