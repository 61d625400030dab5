//go:build unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals are SIGHUP, which reloads the settings, and the signal of isStatusSignal.
var reloadSignals = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}

// isStatusSignal reports whether a signal asks for the state of the outputs.
func isStatusSignal(s os.Signal) bool { return s == syscall.SIGUSR1 }
