//go:build unix

package apmon

import "syscall"

func rawPending(fd int) error {
	n, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil || n == 0 {
		return err
	}
	return syscall.Errno(n)
}

const (
	errAgain   = syscall.EAGAIN
	errNoBufs  = syscall.ENOBUFS
	errMsgSize = syscall.EMSGSIZE
	errRefused = syscall.ECONNREFUSED
)
