//go:build 386 || amd64 || arm || arm64

package procinfo

import (
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	ps "github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

func readMemory(m *kernel.Meminfo) error {
	v, err := mem.VirtualMemory()
	if err == nil {
		m.Total, m.Free, m.Available, m.Buffers = inKiB(v.Total), inKiB(v.Free), inKiB(v.Available), inKiB(v.Buffers)
	}
	return err
}

func readSwap(m *kernel.Meminfo) error {
	// To gopsutil it is an error to have none.
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

// sampleProcesses counts them. Those that wait for a device are not told from
// those that sleep.
func (h *Host) sampleProcesses() error {
	all, err := ps.Processes()
	if err != nil || len(all) == 0 {
		return err
	}
	n := 0
	var states [len(process.States)]uint64
	for _, p := range all {
		status, err := p.Status()
		if err != nil || len(status) == 0 {
			continue // it is gone
		}
		n++
		switch status[0] {
		case ps.Running, ps.Idle: // "idle" is being made
			states[1]++
		case ps.Sleep:
			states[2]++
		case ps.Stop:
			states[3]++
		case ps.Zombie:
			states[4]++
		}
	}
	h.System.Processes = positive(float64(n))
	for i := 1; i <= 4; i++ {
		h.System.ProcessStates[i] = Known(float64(states[i]))
	}
	return nil
}

// sampleDisks: for disks gopsutil starts geom.
func (h *Host) sampleDisks() error { return nil }

// readSystem asks the kernel: gopsutil would change the case.
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

// readCPU leaves the cores out: gopsutil takes the CPUs of this process for
// them.
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
