//go:build !linux

package launch

import (
	"errors"
	"os"
	"syscall"
)

// Run needs Linux.
func Run(Options) (Result, error) {
	return Result{ExitCode: 126}, errors.New("exec needs Linux")
}

// Release does nothing.
func (Result) Release() {}

// ErrNoRoom is returned on Linux.
var ErrNoRoom = errors.New("no room")

// Prepare needs Linux.
func Prepare() error { return nil }

// Trim does nothing.
func Trim() {}

// Exec needs Linux.
func Exec(string, string, []string) { os.Exit(126) }

// Reraise needs Linux; elsewhere it exits with 128 plus the number of the signal.
func Reraise(sig syscall.Signal) { os.Exit(128 + int(sig)) }
