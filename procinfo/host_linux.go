package procinfo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/causes"
	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// Host samples this host. It keeps files open; Close closes them. It is not safe for
// concurrent use.
type Host struct {
	// System is the last sample. The next sample overwrites it.
	System System
	// Factors are copied to the result of General.
	Factors Factors
	// Processes scans the processes of this host. A caller may replace it by one that jobs
	// use, too, and that the caller closes.
	Processes *Processes

	fs    FS
	clock func() time.Duration // monotonic
	// ipv4 returns the first address of an interface. It is nil if the network files are
	// of another network namespace than this process's.
	ipv4 func(name string) string
	buf  []byte
	errs causes.Once

	loadavg, stat, meminfo, vmstat, uptime, diskstats           process.File
	netDev, route, route6, sockstat, sockstat6, protocols, unix process.File
	pressureCPU, pressureMemory, pressureIO                     process.File
	files                                                       []*process.File
	cpu                                                         [kernel.CPUColumns]kernel.Count
	interrupts, switches, pgpgin, pgpgout, pswpin, pswpout      rate
	nets                                                        devices[netIf]
	disks                                                       devices[disk]
	chosen                                                      []*netIf

	diag        sockDiag
	diagRefused bool // do not try again
	tcpNext     time.Duration

	own *Processes
}

// tcpFallbackInterval is the least time between two readings of /proc/net/tcp: one takes
// milliseconds, sock_diag a fraction of a millisecond.
const tcpFallbackInterval = 10 * time.Minute

// NewHost returns a sampler of the host with these trees. It opens nothing yet.
func NewHost(fs FS) *Host {
	start := time.Now()
	h := &Host{
		fs:    fs,
		clock: func() time.Duration { return time.Since(start) },
		buf:   make([]byte, 32<<10),
		own:   NewProcesses(fs),
	}
	h.Processes = h.own
	for _, f := range []struct {
		f    *process.File
		path string
	}{
		{&h.loadavg, fs.ProcPath("loadavg")}, {&h.stat, fs.ProcPath("stat")}, {&h.meminfo, fs.ProcPath("meminfo")},
		{&h.vmstat, fs.ProcPath("vmstat")}, {&h.uptime, fs.ProcPath("uptime")}, {&h.diskstats, fs.ProcPath("diskstats")},
		{&h.netDev, fs.NetPath("dev")}, {&h.route, fs.NetPath("route")}, {&h.route6, fs.NetPath("ipv6_route")},
		{&h.sockstat, fs.NetPath("sockstat")}, {&h.sockstat6, fs.NetPath("sockstat6")},
		{&h.protocols, fs.NetPath("protocols")}, {&h.unix, fs.NetPath("unix")},
		{&h.pressureCPU, fs.ProcPath("pressure/cpu")}, {&h.pressureMemory, fs.ProcPath("pressure/memory")},
		{&h.pressureIO, fs.ProcPath("pressure/io")},
	} {
		f.f.Path = f.path
		h.files = append(h.files, f.f)
	}
	if ownNetwork(fs) {
		h.ipv4 = interfaceIPv4
	} else {
		h.diagRefused = true
	}
	return h
}

// ownNetwork reports whether the network files are those of this process's network
// namespace, so that system calls return the same.
func ownNetwork(fs FS) bool {
	if fs.Net == "/proc/net" {
		return true
	}
	own, err1 := os.Readlink("/proc/self/ns/net")
	its, err2 := os.Readlink(filepath.Join(fs.Net, "../ns/net"))
	return err1 == nil && err2 == nil && own == its
}

// Close closes all files.
func (h *Host) Close() error {
	for _, f := range h.files {
		f.Close()
	}
	h.diag.close()
	return h.own.Close()
}

// Sample takes a sample of the chosen parameters, nil for all. A value that cannot be read
// is unknown. The error reports each cause once, not with every sample. The rest of the
// sample is valid in any case.
func (h *Host) Sample(choose Choice) error {
	ifs := h.System.Interfaces[:0]
	h.System = System{Interfaces: ifs}
	need := choose.readings()
	if need.has(readLoad) {
		for i, v := range kernel.ParseLoadavg(h.read(&h.loadavg)).Load {
			h.System.Load[i] = KnownIf(v.Float())
		}
	}
	if need.has(readStat) {
		h.sampleStat()
	}
	if need.has(readMeminfo) {
		h.System.setMemory(kernel.ParseMeminfo(h.read(&h.meminfo)))
	}
	if need.has(readVmstat) {
		h.sampleVmstat()
	}
	if need.has(readNet) {
		h.sampleNet()
	}
	if need.has(readSockets) {
		h.sampleSockets()
	}
	if need.has(readTCP) {
		h.sampleTCP()
	}
	if need.has(readProcesses) {
		h.sampleProcesses()
	}
	if need.has(readUptime) {
		h.System.Uptime = KnownIf(kernel.ParseUptime(h.read(&h.uptime)).Float())
	}
	p := &h.System.Pressure
	if need.has(readPressureCPU) {
		p.CPUSome, _ = h.pressure(&h.pressureCPU)
	}
	if need.has(readPressureMemory) {
		p.MemorySome, p.MemoryFull = h.pressure(&h.pressureMemory)
	}
	if need.has(readPressureIO) {
		p.IOSome, p.IOFull = h.pressure(&h.pressureIO)
	}
	if need.has(readDisks) {
		h.sampleDisks()
	}
	return h.errs.Take()
}

// read returns the content of a file, nothing if it cannot be read. The next read overwrites
// it.
func (h *Host) read(f *process.File) []byte {
	b, err := f.Read(h.buf)
	if cap(b) > cap(h.buf) {
		h.buf = b
	}
	h.fail(err)
	return b
}

// fail keeps an error for the end of the sample, unless a file is merely missing or the
// cause was reported before.
func (h *Host) fail(err error) {
	if err != nil && !process.Gone(err) {
		h.errs.Add("", err)
	}
}

// pressure returns the share of the last minute in which some, or all, tasks waited, in
// percent.
func (h *Host) pressure(f *process.File) (some, full Value) {
	s, all := kernel.ParsePressure(h.read(f))
	return KnownIf(s.Float()), KnownIf(all.Float())
}

func (h *Host) sampleStat() {
	b := h.read(&h.stat)
	at := h.clock()
	st := kernel.ParseStat(b)
	h.System.Interrupts = h.interrupts.perSecond(st.Intr, at)
	h.System.ContextSwitches = h.switches.perSecond(st.Ctxt, at)
	h.System.setCPU(h.cpu, st.CPU)
	if st.CPU[kernel.CPUIdle].OK {
		h.cpu = st.CPU
	}
}

func (h *Host) sampleVmstat() {
	b := h.read(&h.vmstat)
	at := h.clock()
	v := kernel.ParseVmstat(b)
	h.System.PagesIn = h.pgpgin.perSecond(v.Pgpgin, at)
	h.System.PagesOut = h.pgpgout.perSecond(v.Pgpgout, at)
	h.System.SwapIn = h.pswpin.perSecond(v.Pswpin, at)
	h.System.SwapOut = h.pswpout.perSecond(v.Pswpout, at)
	h.System.OOMKills = KnownIf(v.OOMKill.Float())
}

func (h *Host) sampleNet() {
	at := h.readNet()
	h.System.setNet(h.chosen, at)
}

// readNet reads the counters, and chooses the interfaces that count: the physical ones, or,
// in a container without any, those with a default route. It returns the time at which
// the counters were read.
func (h *Host) readNet() time.Duration {
	h.nets.begin()
	physical := 0
	b := h.read(&h.netDev)
	at := h.clock()
	kernel.ParseNetDev(b, func(name []byte, c kernel.NetCounters) {
		n := see(&h.nets, name, func(n *netIf) { n.physical = h.isDevice("class/net", n.name) })
		if c.In.N < n.counters.In.N { // it may be a new interface of the same name
			n.physical = h.isDevice("class/net", n.name)
		}
		n.counters, n.hasRoute = c, false
		if n.physical {
			physical++
		}
	})
	end[netIf](&h.nets)
	if physical == 0 {
		mark := func(name []byte) {
			if n := h.nets.byName[string(name)]; n != nil && n.name != "lo" {
				n.hasRoute = true
			}
		}
		kernel.ParseRoute(h.read(&h.route), mark)
		kernel.ParseIPv6Route(h.read(&h.route6), mark)
	}
	h.chosen = h.chosen[:0]
	for _, n := range h.nets.order {
		if n.physical || physical == 0 && n.hasRoute {
			h.chosen = append(h.chosen, n)
		}
	}
	return at
}

// isDevice reports whether a network interface or block device belongs to a physical
// device. class is its directory in sysfs.
func (h *Host) isDevice(class, name string) bool {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return false
	}
	var st syscall.Stat_t
	path := h.fs.Sys + "/" + class + "/" + name + "/device"
	err := syscall.Stat(path, &st)
	if err != nil && !process.Gone(err) {
		h.fail(&fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return err == nil
}

func (h *Host) sampleDisks() {
	b := h.read(&h.diskstats)
	at := h.clock()
	var read, written total
	h.disks.begin()
	kernel.ParseDiskstats(b, func(name []byte, in, out kernel.Count) {
		d := see(&h.disks, name, func(d *disk) { d.physical = h.isDevice("block", strings.ReplaceAll(d.name, "/", "!")) })
		if d.physical {
			const kib = .5 // of a sector
			read.add(&d.read, in, at, kib)
			written.add(&d.write, out, at, kib)
		}
	})
	end[disk](&h.disks)
	h.System.DiskRead, h.System.DiskWrite = read.value(), written.value()
}

func (h *Host) sampleSockets() {
	s := &h.System.Sockets
	s.UDP = plus(KnownIf(kernel.ParseSockstat(h.read(&h.sockstat)).Float()), KnownIf(kernel.ParseSockstat(h.read(&h.sockstat6)).Float()))
	p := kernel.ParseProtocols(h.read(&h.protocols))
	if !p.Unix.OK {
		p.Unix = kernel.ParseNetUnix(h.read(&h.unix))
	}
	s.Unix, s.ICMP = KnownIf(p.Unix.Float()), KnownIf(p.ICMP.Float())
}

func (h *Host) sampleTCP() {
	var states kernel.TCPStates
	if !h.diagRefused {
		var err error
		states, err = h.diag.tcp()
		switch {
		case err == nil:
			h.System.setTCP(&states)
			return
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			h.fail(&fs.PathError{Op: "sock_diag", Path: "netlink", Err: err})
			return
		}
		h.diagRefused = true
	}
	now := h.clock()
	if now < h.tcpNext {
		return
	}
	h.tcpNext = now + tcpFallbackInterval
	ok := false
	for _, name := range [...]string{"tcp", "tcp6"} {
		f := process.File{Path: h.fs.NetPath(name)} // too seldom to keep it open
		b := h.read(&f)
		f.Close()
		if len(b) > 0 {
			ok = true
			kernel.ParseNetTCP(b, &states)
		}
	}
	if ok {
		h.System.setTCP(&states)
	}
}

func (h *Host) sampleProcesses() {
	counts, err := h.Processes.count()
	h.fail(err)
	if counts.N == 0 { // no proc file system: it would show at least this process
		return
	}
	h.System.Processes = Known(float64(counts.N))
	for i, n := range counts.States {
		h.System.ProcessStates[i] = Known(float64(n))
	}
}
