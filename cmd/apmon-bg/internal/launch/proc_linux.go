package launch

import (
	"runtime"
	"syscall"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// ignoredSignals returns the signals that this process ignores, as bits.
func ignoredSignals() uint64 {
	status, _ := process.ReadFile("/proc/self/status")
	return kernel.ParseStatus(status).SigIgn.N
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

// quiet reports whether no process seems to wait for a CPU.
func quiet() bool {
	running := readLoad().Running
	return running.OK && running.N <= uint64(runtime.NumCPU())
}

// readLoad reads /proc/loadavg. Its numbers are unknown without /proc.
func readLoad() kernel.Loadavg {
	load, _ := process.ReadFile("/proc/loadavg")
	return kernel.ParseLoadavg(load)
}
