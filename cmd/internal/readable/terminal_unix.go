//go:build linux || darwin || freebsd || netbsd || openbsd

package readable

import (
	"os"

	"golang.org/x/sys/unix"
)

// columns returns the columns of a terminal, and false if f is none.
func columns(f *os.File) (int, bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	var size *unix.Winsize
	// Not f.Fd, which makes the file blocking.
	if c.Control(func(fd uintptr) { size, err = unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ) }) != nil || err != nil {
		return 0, false
	}
	return int(size.Col), true
}
