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

// Reraise needs Linux; elsewhere it exits with 128 and the signal's number.
func Reraise(sig syscall.Signal) { os.Exit(128 + int(sig)) }
