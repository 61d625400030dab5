//go:build linux && !386 && !s390x

package apmon

import (
	"syscall"
	"unsafe"
)

// write sends one datagram. A full socket is the error EAGAIN.
//
// The call does not block (MSG_DONTWAIT) and takes about a microsecond, so the
// scheduler does not hear of it: that alone would cost more than encoding ten
// parameters. Between [Client.Send] and the system call are as few functions as
// can be, since after it the processor mispredicts each return.
func (s *socket) write(b []byte) error {
	if s.fd < 0 {
		return s.writeConn(b)
	}
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}
