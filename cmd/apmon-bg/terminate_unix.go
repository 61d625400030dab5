//go:build unix && !linux

package main

import (
	"errors"
	"syscall"
)

// terminate sends SIGTERM to a process if is confirms it.
func terminate(pid int, is func() bool) error {
	if !is() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
