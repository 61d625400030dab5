//go:build !cgo

package procinfo

// withCgo reports whether gopsutil can call the Mach kernel.
const withCgo = false
