//go:build 386 || amd64 || arm || arm64

package procinfo

import (
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	ps "github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
)

func readMemory(m *kernel.Meminfo) error {
	v, err := mem.VirtualMemory()
	if err == nil {
		m.Total, m.Free, m.Available, m.Buffers = inKiB(v.Total), inKiB(v.Free), inKiB(v.Available), inKiB(v.Buffers)
	}
	return err
}

func readSwap(m *kernel.Meminfo) error {
	// gopsutil returns an error if there is no swap space.
	if n, err := unix.SysctlUint32("vm.nswapdev"); err == nil && n == 0 {
		m.SwapTotal, m.SwapFree = inKiB(0), inKiB(0)
		return nil
	}
	s, err := mem.SwapMemory()
	if err == nil {
		m.SwapTotal, m.SwapFree = inKiB(s.Total), inKiB(s.Free)
	}
	return err
}

// processCounts counts the processes by state. The system does not distinguish those that
// wait for a device from those that sleep.
func processCounts() (n Value, states processStates, err error) {
	all, err := ps.Processes()
	if err != nil || len(all) == 0 {
		return n, states, err
	}
	found := 0
	var in [len(states)]uint64
	for _, p := range all {
		status, err := p.Status()
		if err != nil || len(status) == 0 {
			continue // it has ended
		}
		found++
		switch status[0] {
		case ps.Running, ps.Idle: // an "idle" process is being created
			in[1]++
		case ps.Sleep:
			in[2]++
		case ps.Stop:
			in[3]++
		case ps.Zombie:
			in[4]++
		}
	}
	for i := 1; i <= 4; i++ {
		states[i] = Known(float64(in[i]))
	}
	return positive(float64(found)), states, nil
}

// diskIO reads nothing: gopsutil starts geom for it.
func diskIO() (map[string]diskCounters, error) { return nil, nil }

// readSystem reads from the kernel: gopsutil changes the case of the name.
func readSystem(g *General) (err error) {
	if g.KernelVersion, err = unix.Sysctl("kern.osrelease"); err != nil {
		return err
	}
	name, err := unix.Sysctl("kern.ostype")
	if err == nil {
		g.OSType = name + " " + g.KernelVersion
	}
	return err
}

// readCPU does not read the cores: gopsutil returns the CPUs of this process instead.
func readCPU(g *General) error {
	c := &g.CPU
	c.ModelName, _ = unix.Sysctl("hw.model")
	if n, err := unix.SysctlUint32("hw.ncpu"); err == nil {
		c.Logical = positive(float64(n))
	}
	all, err := cpu.Info()
	if err != nil || len(all) == 0 {
		return err
	}
	i := all[0]
	c.Vendor = i.VendorID
	c.Family, c.Model = decimalID(i.Family), decimalID(i.Model)
	c.MHz = positive(i.Mhz)
	return nil
}
