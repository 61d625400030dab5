package procinfo

import (
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Without cgo, gopsutil has no CPU times, and starts vm_stat to read the memory.

func readMemory(m *kernel.Meminfo) error {
	if !withCgo {
		total, err := unix.SysctlUint64("hw.memsize")
		if err == nil {
			m.Total = inKiB(total)
		}
		return err
	}
	v, err := mem.VirtualMemory()
	if err == nil {
		m.Total, m.Free, m.Available = inKiB(v.Total), inKiB(v.Free), inKiB(v.Available)
	}
	return err
}

func readSwap(m *kernel.Meminfo) error {
	s, err := mem.SwapMemory()
	if err == nil {
		m.SwapTotal, m.SwapFree = inKiB(s.Total), inKiB(s.Free)
	}
	return err
}

// readSystem reads the version from the kernel: gopsutil starts sw_vers for it.
func readSystem(g *General) (err error) {
	if g.KernelVersion, err = unix.Sysctl("kern.osrelease"); err != nil {
		return err
	}
	version, err := unix.Sysctl("kern.osproductversion")
	if err == nil {
		g.OSType = "macOS " + version
	}
	return err
}

func readCPU(g *General) error {
	c := &g.CPU
	c.Logical, c.Cores = knownCount(cpu.Counts(true)), knownCount(cpu.Counts(false))
	all, err := cpu.Info()
	if err != nil || len(all) == 0 {
		return err
	}
	i := all[0]
	c.Vendor, c.ModelName = i.VendorID, i.ModelName
	c.Family, c.Model = decimalID(i.Family), decimalID(i.Model)
	c.MHz = positive(i.Mhz)
	return nil // its CacheSize is not that of the last level
}
