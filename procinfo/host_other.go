//go:build !linux && !darwin && !windows && !(freebsd && (386 || amd64 || arm || arm64))

package procinfo

import "errors"

// errUnsupported is returned where there is no source of numbers.
var errUnsupported = errors.New("procinfo: this system is not supported")

// Host samples this host.
type Host struct {
	System    System
	Factors   Factors
	Processes *Processes // for Linux
}

// NewHost returns a sampler of the host.
func NewHost(FS) *Host { return &Host{} }

// Sample takes a sample of what is chosen, nil for everything.
func (h *Host) Sample(Choice) error { return errUnsupported }

// General reads what seldom changes.
func (h *Host) General() (*General, error) {
	return &General{Hostname: Hostname(), Factors: h.Factors}, errUnsupported
}

// Close frees what the host holds.
func (h *Host) Close() error { return nil }
