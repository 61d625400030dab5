//go:build !linux && !darwin && !windows && !(freebsd && (386 || amd64 || arm || arm64))

package procinfo

import "errors"

// errUnsupported is returned on systems that cannot be sampled.
var errUnsupported = errors.New("procinfo: this system is not supported")

// Host samples this host, on systems that are supported.
type Host struct {
	System    System
	Factors   Factors
	Processes *Processes // for Linux
}

// NewHost returns a sampler of the host.
func NewHost(FS) *Host { return &Host{} }

// Sample returns an error.
func (h *Host) Sample(Choice) error { return errUnsupported }

// Hardware is General.
func (h *Host) Hardware() (*General, error) { return h.General() }

// General returns the host's name, and an error.
func (h *Host) General() (*General, error) {
	return &General{Hostname: Hostname(), Factors: h.Factors}, errUnsupported
}

// Close does nothing.
func (h *Host) Close() error { return nil }
