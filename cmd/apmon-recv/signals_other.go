//go:build !unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals is the one signal that reloads the settings, and stateSignals is empty; no
// system without SIGUSR1 sends either.
var (
	reloadSignals = []os.Signal{syscall.SIGHUP}
	stateSignals  []os.Signal
)
