//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyStatistics relays SIGUSR1, which requests statistics.
func notifyStatistics(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }
