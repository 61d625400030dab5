//go:build !unix

package main

import "os"

// notifyStatistics does nothing: there is no such signal.
func notifyStatistics(chan<- os.Signal) {}
