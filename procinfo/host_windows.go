package procinfo

import (
	"net"
	"unsafe"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/apmon-go/apmon/internal/kernel"

	psnet "github.com/shirou/gopsutil/v3/net"
	"github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/windows/registry"
)

// sampleLoad: Windows has no load average. gopsutil makes one up, in a
// goroutine that never ends and starts from 0.
func (h *Host) sampleLoad() error { return nil }

func readMemory(m *kernel.Meminfo) error {
	v, err := mem.VirtualMemory()
	if err != nil {
		return err
	}
	if v == nil { // the cause is lost
		return errNothing
	}
	m.Total, m.Available = inKiB(v.Total), inKiB(v.Available) // its Free is the same
	return nil
}

// readSwap adds up the page files. gopsutil's SwapMemory is the commit charge,
// which memory is part of.
func readSwap(m *kernel.Meminfo) error {
	if unsafe.Sizeof(uintptr(0)) == 4 {
		return nil // gopsutil has only the 64-bit structure
	}
	files, err := mem.SwapDevices()
	if err != nil {
		return err
	}
	used, free := uint64(0), uint64(0)
	for _, f := range files {
		used, free = used+f.UsedBytes, free+f.FreeBytes
	}
	m.SwapTotal, m.SwapFree = inKiB(used+free), inKiB(free)
	return nil
}

func (h *Host) sampleNet() error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	counters, err := psnet.IOCounters(true)
	if err != nil {
		return err
	}
	at := h.clock()
	chosen := map[string]bool{}
	for _, i := range all {
		chosen[i.Name] = counts(i)
	}
	h.nets.begin()
	for _, c := range counters {
		if chosen[c.Name] {
			n := see(&h.nets, []byte(c.Name), func(*netIf) {})
			n.counters = kernel.NetCounters{In: kernel.Known(c.BytesRecv), Out: kernel.Known(c.BytesSent), Errs: kernel.Known(c.Errin + c.Errout)}
		}
	}
	end[netIf](&h.nets)
	h.System.setNet(h.nets.order, at)
	return nil
}

func (h *Host) sampleSockets() error {
	s := &h.System.Sockets
	tcp, err := psnet.Connections("tcp")
	if err != nil {
		return err
	}
	if len(tcp) > 0 { // gopsutil hides errors, and no Windows is without sockets
		var states kernel.TCPStates
		for i := range tcp {
			states.Add(tcpState(tcp[i].Status))
		}
		h.System.setTCP(&states)
	}
	udp, err := psnet.Connections("udp")
	if err == nil {
		s.UDP = positive(float64(len(udp)))
	}
	return err
}

// sampleProcesses counts them; they have no states.
func (h *Host) sampleProcesses() error {
	pids, err := process.Pids()
	if err == nil {
		h.System.Processes = positive(float64(len(pids)))
	}
	return err
}

func readSystem(g *General) (err error) {
	g.OSType, _, g.KernelVersion, err = host.PlatformInformation()
	return err
}

// readCPU reads the registry, where gopsutil asks WMI: that takes up to seconds,
// may hang, and has other numbers for families. The cores are not there.
func readCPU(g *General) error {
	c := &g.CPU
	if n, err := cpu.Counts(true); err == nil {
		c.Logical = positive(float64(n))
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `HARDWARE\DESCRIPTION\System\CentralProcessor\0`, registry.QUERY_VALUE)
	if err != nil {
		return err
	}
	defer key.Close()
	text := func(name string) string {
		s, _, _ := key.GetStringValue(name)
		return s
	}
	c.Vendor, c.ModelName = text("VendorIdentifier"), text("ProcessorNameString")
	c.Family, c.Model = parseIdentifier(text("Identifier"))
	if mhz, _, err := key.GetIntegerValue("~MHz"); err == nil {
		c.MHz = positive(float64(mhz))
	}
	return nil
}
