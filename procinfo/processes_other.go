//go:build !linux

package procinfo

// Processes scans the processes of a host, on Linux: on other systems it does
// nothing.
type Processes struct{}

// NewProcesses returns the processes of a host.
func NewProcesses(FS) *Processes { return &Processes{} }

// Close does nothing.
func (*Processes) Close() error { return nil }
