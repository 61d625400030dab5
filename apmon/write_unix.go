//go:build unix && (!linux || 386 || s390x)

package apmon

import "syscall"

// rawWrite sends a datagram; the socket is non-blocking.
func rawWrite(fd int, b []byte) error {
	for {
		_, err := syscall.Write(fd, b)
		if err != syscall.EINTR {
			return err
		}
	}
}
