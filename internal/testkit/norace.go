//go:build !race

package testkit

// Race reports whether the race detector is on. It costs memory and time in
// every process, so some measurements do not hold.
const Race = false
