//go:build !linux

package main

// isTerminal returns false: exec monitors jobs on Linux only.
func isTerminal(int) bool { return false }

func inForeground(int) bool { return false }

func columns(int) int { return 80 }
