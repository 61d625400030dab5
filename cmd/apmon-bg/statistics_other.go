//go:build !unix

package main

import "os"

// notifyStatistics does nothing: this system has no such signal.
func notifyStatistics(chan<- os.Signal) {}
