//go:build unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals reload the settings, and stateSignals ask for the state of the outputs.
var (
	reloadSignals = []os.Signal{syscall.SIGHUP}
	stateSignals  = []os.Signal{syscall.SIGUSR1}
)
