//go:build !unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals is the one signal that reloads the settings; no system without SIGUSR1
// sends it.
var reloadSignals = []os.Signal{syscall.SIGHUP}

func isStatusSignal(os.Signal) bool { return false }
