//go:build linux && !386 && !s390x

package apmon

import (
	"syscall"
	"unsafe"
)

// rawWrite sends a datagram. The call does not block (MSG_DONTWAIT) and takes
// about a microsecond, so the scheduler is not told of it: that alone would
// cost more than encoding ten parameters.
func rawWrite(fd int, b []byte) error {
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd),
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
