//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyStatistics relays the signal that asks for statistics.
func notifyStatistics(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }
