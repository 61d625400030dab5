//go:build darwin || windows || (freebsd && (386 || amd64 || arm || arm64))

package procinfo

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Host samples this host with gopsutil, as far as that needs no other process
// for it: see the package's documentation for what is missing where. It is not
// safe for concurrent use.
type Host struct {
	// System is the last sample. It is overwritten by the next.
	System System
	// Factors are passed on by General.
	Factors   Factors
	Processes *Processes // for Linux

	clock func() time.Duration // monotonic
	told  map[string]bool      // causes of errors that were returned
	errs  []error              // those of this sample

	cpu   [kernel.CPUColumns]kernel.Count
	nets  known[netIf]
	disks known[disk]
}

// NewHost returns a sampler of this host. The trees have no meaning here.
func NewHost(FS) *Host {
	start := time.Now()
	return &Host{
		clock: func() time.Duration { return time.Since(start) },
		told:  map[string]bool{},
	}
}

// Close frees what the host holds.
func (h *Host) Close() error { return nil }

// Sample takes a sample of what is chosen, nil for everything. What cannot be
// read is unknown, and its cause returned once, not with every sample; the rest
// of the sample is good in any case.
func (h *Host) Sample(choose Choice) error {
	h.System = System{Interfaces: h.System.Interfaces[:0]}
	h.errs = h.errs[:0]
	need := choose.readings()
	if need.has(readLoad) {
		h.ask("load", h.sampleLoad)
	}
	if need.has(readStat) {
		h.ask("CPU times", h.sampleCPU)
	}
	if need.has(readMeminfo) {
		m := h.memory()
		h.System.setMemory(m)
		h.System.setUsed(m)
	}
	if need.has(readNet) {
		h.ask("traffic", h.sampleNet)
	}
	if need.has(readTCP | readSockets) {
		h.ask("sockets", h.sampleSockets)
	}
	if need.has(readProcesses) {
		h.ask("processes", h.sampleProcesses)
	}
	if need.has(readUptime) {
		h.ask("uptime", func() error {
			s, err := host.Uptime()
			if err == nil {
				h.System.Uptime = uptime(s)
			}
			return err
		})
	}
	if need.has(readDisks) {
		h.ask("disks", h.sampleDisks)
	}
	return errors.Join(h.errs...)
}

// ask calls read, and notes an error unless it only says that a thing is not
// there, or not in gopsutil, or its cause was told before. A panic is such an error: gopsutil takes
// the first byte of what a sysctl returned without a look at its length, and
// calls functions that a DLL may lack.
func (h *Host) ask(what string, read func() error) {
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		return read()
	}()
	if err == nil || errors.Is(err, fs.ErrNotExist) || err.Error() == notImplemented {
		return
	}
	err = fmt.Errorf("procinfo: %s: %w", what, err)
	if cause := err.Error(); !h.told[cause] && len(h.told) < 1000 {
		h.told[cause] = true
		h.errs = append(h.errs, err)
	}
}

// notImplemented is gopsutil's error for that, which it does not export.
const notImplemented = "not implemented yet"

// errNothing is for calls that say neither what is nor why not.
var errNothing = errors.New("the system told nothing")

func (h *Host) sampleCPU() error {
	all, err := cpu.Times(false)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errNothing
	}
	t := all[0]
	var now [kernel.CPUColumns]kernel.Count
	now[kernel.CPUUser], now[kernel.CPUSystem], now[kernel.CPUIdle] = microseconds(t.User), microseconds(t.System), microseconds(t.Idle)
	if runtime.GOOS != "windows" {
		now[kernel.CPUNice] = microseconds(t.Nice)
	}
	if runtime.GOOS == "freebsd" {
		now[kernel.CPUIRQ] = microseconds(t.Irq)
	}
	if !fellBack(h.cpu, now) {
		h.System.setCPU(h.cpu, now)
	}
	h.cpu = now
	return nil
}

// memory reads what the system tells of its memory and swap space.
func (h *Host) memory() (m kernel.Meminfo) {
	h.ask("memory", func() error { return readMemory(&m) })
	h.ask("swap", func() error { return readSwap(&m) })
	return m
}

// General reads what seldom changes.
func (h *Host) General() (*General, error) {
	h.errs = h.errs[:0]
	g := &General{Hostname: Hostname(), Factors: h.Factors}
	h.ask("machine", func() (err error) {
		g.Platform, err = host.KernelArch()
		return err
	})
	h.ask("system", func() error { return readSystem(g) })
	h.ask("CPU", func() error { return readCPU(g) })
	g.CPU.SMT = smt(g.CPU.Logical, g.CPU.Cores)
	const mib = 1. / 1024
	m := h.memory()
	g.TotalMem = KnownIf(m.Total.Float()).Scaled(mib)
	g.TotalSwap = KnownIf(m.SwapTotal.Float()).Scaled(mib)
	h.ask("addresses", func() error { return readAddresses(g) })
	return g, errors.Join(h.errs...)
}

// readAddresses finds those of the interfaces whose traffic counts.
func readAddresses(g *General) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	var bad error
	left := MaxInterfaces
	for _, i := range all {
		if !counts(i) {
			continue
		}
		if left--; left < 0 {
			break
		}
		addrs, err := i.Addrs()
		if err != nil {
			bad = err
			continue
		}
		var ips []netip.Addr
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					ips = append(ips, ip)
				}
			}
		}
		if a := firstAddresses(i.Name, ips); a.IPv4 != "" || a.IPv6 != "" {
			g.Addresses = append(g.Addresses, a)
		}
	}
	return bad
}

// counts reports whether the traffic of an interface counts. Which ones are
// physical is not told; these are up and have a hardware address.
func counts(i net.Interface) bool {
	return i.Flags&net.FlagUp != 0 && i.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0 && len(i.HardwareAddr) > 0
}
