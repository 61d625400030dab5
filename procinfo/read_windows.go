package procinfo

import (
	"net"
	"unsafe"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/apmon-go/apmon/internal/kernel"

	psnet "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/windows/registry"
)

// loadAverage reads nothing: Windows has no load average. gopsutil simulates one in a goroutine
// that never ends and starts from 0.
func loadAverage() (load [3]Value, err error) { return load, nil }

func readMemory(m *kernel.Meminfo) error {
	v, err := mem.VirtualMemory()
	if err != nil {
		return err
	}
	if v == nil { // gopsutil does not return the cause
		return errNothing
	}
	m.Total, m.Available = inKiB(v.Total), inKiB(v.Available) // its Free equals Available
	return nil
}

// readSwap adds up the page files. gopsutil's SwapMemory is the commit charge, which
// includes memory.
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

func trafficCounters() ([]traffic, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	counters, err := psnet.IOCounters(true)
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, i := range all {
		chosen[i.Name] = counts(i)
	}
	var counted []traffic
	for _, c := range counters {
		if chosen[c.Name] {
			counted = append(counted, traffic{c.Name, kernel.NetCounters{
				In: kernel.Known(c.BytesRecv), Out: kernel.Known(c.BytesSent), Errs: kernel.Known(c.Errin + c.Errout)}})
		}
	}
	return counted, nil
}

// socketCounts counts the TCP sockets by state, and the UDP sockets.
func socketCounts() (tcp *kernel.TCPStates, udp Value, err error) {
	all, err := psnet.Connections("tcp")
	if err != nil {
		return nil, Value{}, err
	}
	if len(all) > 0 { // gopsutil hides errors, and every Windows has sockets
		tcp = new(kernel.TCPStates)
		for i := range all {
			tcp.Add(tcpState(all[i].Status))
		}
	}
	all, err = psnet.Connections("udp")
	if err != nil {
		return tcp, Value{}, err
	}
	return tcp, positive(float64(len(all))), nil
}

func readSystem(g *General) (err error) {
	g.OSType, _, g.KernelVersion, err = host.PlatformInformation()
	return err
}

// readCPU reads the registry. gopsutil uses WMI, which takes up to seconds, may hang, and
// has other numbers for families. The registry does not have the cores.
func readCPU(g *General) error {
	c := &g.CPU
	c.Logical = knownCount(cpu.Counts(true))
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
