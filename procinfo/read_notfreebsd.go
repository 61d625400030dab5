//go:build darwin || windows

package procinfo

import (
	psdisk "github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/process"
)

// diskIO reads the physical disks of macOS, and the volumes of Windows on fixed disks.
func diskIO() (map[string]diskCounters, error) {
	all, err := psdisk.IOCounters()
	if err != nil {
		return nil, err
	}
	disks := map[string]diskCounters{}
	for name, c := range all {
		disks[name] = diskCounters{c.ReadBytes, c.WriteBytes}
	}
	return disks, nil
}

// processCounts counts the processes. Their states are unknown: on macOS gopsutil starts
// ps for them, and the kernel reports nearly all processes as running; Windows has none.
func processCounts() (n Value, states processStates, err error) {
	pids, err := process.Pids()
	if err != nil {
		return Value{}, states, err
	}
	return positive(float64(len(pids))), states, nil
}

// knownCount returns a positive number as a known value if there is no error.
func knownCount(n int, err error) Value {
	if err != nil {
		return Value{}
	}
	return positive(float64(n))
}
