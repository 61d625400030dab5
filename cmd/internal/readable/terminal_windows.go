package readable

import (
	"os"

	"golang.org/x/sys/windows"
)

// columns returns the columns of a console, and false if f is none.
func columns(f *os.File) (int, bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	var (
		mode uint32
		info windows.ConsoleScreenBufferInfo
	)
	if c.Control(func(fd uintptr) {
		if err = windows.GetConsoleMode(windows.Handle(fd), &mode); err == nil {
			err = windows.GetConsoleScreenBufferInfo(windows.Handle(fd), &info)
		}
	}) != nil || err != nil {
		return 0, false
	}
	return int(info.Window.Right-info.Window.Left) + 1, true
}
