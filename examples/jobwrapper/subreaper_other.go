//go:build !linux

package main

func becomeSubreaper() bool { return false }
