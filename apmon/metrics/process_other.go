//go:build !linux

package metrics

// readKernel reads nothing: there is no /proc.
func (p *Process) readKernel(string) {}
