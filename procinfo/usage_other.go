//go:build !linux

package procinfo

// ReadUsage returns an unknown usage: it is read on Linux only.
func ReadUsage() Usage { return Usage{} }

// SelfRSS returns an unknown value: it is read on Linux only.
func SelfRSS() Value { return Value{} }
