//go:build !cgo

package procinfo

// withCgo reports whether gopsutil can ask the Mach kernel.
const withCgo = false
