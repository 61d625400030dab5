//go:build darwin || windows || (freebsd && (386 || amd64 || arm || arm64))

package procinfo

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"

	"github.com/apmon-go/apmon/internal/causes"
	"github.com/apmon-go/apmon/internal/kernel"
)

// Host samples this host with gopsutil, as far as gopsutil starts no process for it. The
// package documentation lists the values that are missing on each system. It is not safe
// for concurrent use.
type Host struct {
	// System is the last sample. The next sample overwrites it.
	System System
	// Factors are copied to the result of General.
	Factors   Factors
	Processes *Processes // for Linux

	clock func() time.Duration // monotonic
	errs  causes.Once

	cpu   [kernel.CPUColumns]kernel.Count
	nets  devices[netIf]
	disks devices[disk]
}

// NewHost returns a sampler of this host. The trees are ignored.
func NewHost(FS) *Host {
	start := time.Now()
	return &Host{
		clock: func() time.Duration { return time.Since(start) },
	}
}

// Close does nothing.
func (h *Host) Close() error { return nil }

// Sample takes a sample of the chosen parameters, nil for all. A value that cannot be read
// is unknown. The error reports each cause once, not with every sample. The rest of the
// sample is valid in any case.
func (h *Host) Sample(choose Choice) error {
	h.System = System{Interfaces: h.System.Interfaces[:0]}
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
				h.System.Uptime = knownUptime(s)
			}
			return err
		})
	}
	if need.has(readDisks) {
		h.ask("disks", h.sampleDisks)
	}
	return h.errs.Take()
}

// ask calls read, and keeps its error for the end of the sample, unless a file is merely
// missing, gopsutil does not implement it, or the cause was reported before. A panic is
// handled as an error: gopsutil uses the first byte that a sysctl returns without checking
// the length, and calls functions that a DLL may lack.
func (h *Host) ask(name string, read func() error) {
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
	err = fmt.Errorf("procinfo: %s: %w", name, err)
	h.errs.Add("", err)
}

// notImplemented is the text of gopsutil's ErrNotImplementedError, which is internal.
const notImplemented = "not implemented yet"

func (h *Host) sampleLoad() (err error) {
	h.System.Load, err = loadAverage()
	return err
}

func (h *Host) sampleNet() error {
	all, err := trafficCounters()
	if err != nil {
		return err
	}
	at := h.clock()
	h.nets.begin()
	for _, t := range all {
		see(&h.nets, []byte(t.name), func(*netIf) {}).counters = t.counters
	}
	end[netIf](&h.nets)
	h.System.setNet(h.nets.order, at)
	return nil
}

func (h *Host) sampleSockets() error {
	tcp, udp, err := socketCounts()
	if tcp != nil {
		h.System.setTCP(tcp)
	}
	h.System.Sockets.UDP = udp
	return err
}

func (h *Host) sampleProcesses() (err error) {
	h.System.Processes, h.System.ProcessStates, err = processCounts()
	return err
}

func (h *Host) sampleDisks() error {
	all, err := diskIO()
	if err != nil {
		return err
	}
	at := h.clock()
	const kib = 1. / 1024
	var read, written total
	h.disks.begin()
	for name, c := range all {
		d := see(&h.disks, []byte(name), func(*disk) {})
		read.add(&d.read, kernel.Known(c.read), at, kib)
		written.add(&d.write, kernel.Known(c.written), at, kib)
	}
	end[disk](&h.disks)
	h.System.DiskRead, h.System.DiskWrite = read.value(), written.value()
	return nil
}

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

// memory reads memory and swap space.
func (h *Host) memory() (m kernel.Meminfo) {
	h.ask("memory", func() error { return readMemory(&m) })
	h.ask("swap", func() error { return readSwap(&m) })
	return m
}

// Hardware is General.
func (h *Host) Hardware() (*General, error) { return h.General() }

// General reads the values that seldom change.
func (h *Host) General() (*General, error) {
	g := &General{Hostname: Hostname(), Factors: h.Factors}
	h.ask("machine", func() (err error) {
		g.Platform, err = host.KernelArch()
		return err
	})
	h.ask("system", func() error { return readSystem(g) })
	h.ask("CPU", func() error { return readCPU(g) })
	g.CPU.SMT = knownSMT(g.CPU.Logical, g.CPU.Cores)
	const mib = 1. / 1024
	m := h.memory()
	g.TotalMem = KnownIf(m.Total.Float()).Scaled(mib)
	g.TotalSwap = KnownIf(m.SwapTotal.Float()).Scaled(mib)
	h.ask("addresses", func() error { return readAddresses(g) })
	return g, h.errs.Take()
}
