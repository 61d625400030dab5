package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminate sends TERM to a process if it still is the one that is meant: the
// descriptor holds on to the process, while its number may be given away.
func terminate(pid int, is func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
		if !is() {
			return nil
		}
		err = unix.PidfdSendSignal(fd, syscall.SIGTERM, nil, 0)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // before Linux 5.3, or not allowed to
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
