//go:build linux && !386 && !s390x

package apmon

import (
	"syscall"
	"unsafe"
)

// write sends one datagram. A full socket is the error EAGAIN.
//
// The call does not block (MSG_DONTWAIT) and takes about a microsecond. It does
// not notify Go's scheduler, which would cost more than encoding ten parameters.
// There are few functions between [Client.Send] and the system call, because the
// processor mispredicts each of their returns after it.
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
