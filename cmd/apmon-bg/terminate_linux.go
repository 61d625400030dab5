package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminate sends SIGTERM to a process if is confirms it. It checks after it opens the
// descriptor, which refers to the process even if its pid is reused.
func terminate(pid int, is func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
		if !is() {
			return nil
		}
		err = unix.PidfdSendSignal(fd, syscall.SIGTERM, nil, 0)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // before Linux 5.3, or not permitted
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
