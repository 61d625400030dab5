package procinfo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Host samples this host. It keeps files open and buffers, and is not safe for
// concurrent use; Close frees what it holds.
type Host struct {
	// System is the last sample. It is overwritten by the next.
	System System
	// Factors are passed on by General.
	Factors Factors
	// Jobs, if set, are followed on this host: they and the host share one
	// scan of its processes. They are closed by who made them.
	Jobs *Jobs

	fs    FS
	clock func() time.Duration // monotonic
	// ipv4 returns the first address of an interface, nil where the network
	// is not this process's.
	ipv4 func(name string) string
	buf  []byte
	told map[string]bool // causes of errors that were returned
	errs []error         // those of this sample

	loadavg, stat, meminfo, vmstat, uptime, diskstats           file
	netDev, route, route6, sockstat, sockstat6, protocols, unix file
	pressureCPU, pressureMemory, pressureIO                     file
	files                                                       []*file
	cpu                                                         [cpuColumns]count
	interrupts, switches, pgpgin, pgpgout, pswpin, pswpout      rate
	nets                                                        known[netIf]
	disks                                                       known[disk]
	chosen                                                      []*netIf

	diag        sockDiag
	diagRefused bool // ask no more
	tcpNext     time.Duration

	scan procScan
}

// tcpFallbackInterval is how often sockets are counted from /proc/net/tcp: that
// costs milliseconds where sock_diag costs a fraction of one.
const tcpFallbackInterval = 10 * time.Minute

// NewHost returns a sampler of the host with these trees. It opens nothing yet.
func NewHost(fs FS) *Host {
	start := time.Now()
	h := &Host{
		fs:    fs,
		clock: func() time.Duration { return time.Since(start) },
		buf:   make([]byte, 32<<10),
		told:  map[string]bool{},
	}
	for _, f := range []struct {
		f    *file
		path string
	}{
		{&h.loadavg, fs.proc("loadavg")}, {&h.stat, fs.proc("stat")}, {&h.meminfo, fs.proc("meminfo")},
		{&h.vmstat, fs.proc("vmstat")}, {&h.uptime, fs.proc("uptime")}, {&h.diskstats, fs.proc("diskstats")},
		{&h.netDev, fs.net("dev")}, {&h.route, fs.net("route")}, {&h.route6, fs.net("ipv6_route")},
		{&h.sockstat, fs.net("sockstat")}, {&h.sockstat6, fs.net("sockstat6")},
		{&h.protocols, fs.net("protocols")}, {&h.unix, fs.net("unix")},
		{&h.pressureCPU, fs.proc("pressure/cpu")}, {&h.pressureMemory, fs.proc("pressure/memory")},
		{&h.pressureIO, fs.proc("pressure/io")}, {&h.scan.dir, fs.Proc},
	} {
		f.f.path = f.path
		h.files = append(h.files, f.f)
	}
	if ownNetwork(fs) {
		h.ipv4 = interfaceIPv4
	} else {
		h.diagRefused = true
	}
	return h
}

// ownNetwork reports whether the network files are of this process's network
// namespace, so that the kernel may be asked instead.
func ownNetwork(fs FS) bool {
	if fs.Net == "/proc/net" {
		return true
	}
	own, err1 := os.Readlink("/proc/self/ns/net")
	its, err2 := os.Readlink(filepath.Join(fs.Net, "../ns/net"))
	return err1 == nil && err2 == nil && own == its
}

// Close closes the files that were kept open.
func (h *Host) Close() error {
	for _, f := range h.files {
		f.close()
	}
	h.diag.close()
	return nil
}

// Sample takes a sample of what is chosen, nil for everything. What cannot be
// read is unknown, and its cause returned once, not with every sample; the rest
// of the sample is good in any case.
func (h *Host) Sample(choose Choice) error {
	ifs := h.System.Interfaces[:0]
	h.System = System{Interfaces: ifs}
	h.errs = h.errs[:0]
	want := func(options ...string) bool {
		if choose == nil {
			return true
		}
		for _, o := range options {
			if on, _ := choose(o); on {
				return true
			}
		}
		return false
	}
	if want("sys_load1", "sys_load5", "sys_load15") {
		h.System.Load = parseLoadavg(h.read(&h.loadavg))
	}
	if want("sys_cpu_usr", "sys_cpu_nice", "sys_cpu_sys", "sys_cpu_idle", "sys_cpu_iowait", "sys_cpu_irq", "sys_cpu_softirq",
		"sys_cpu_steal", "sys_cpu_guest", "sys_cpu_usage", "sys_interrupts", "sys_context_switches") {
		h.sampleStat()
	}
	if want("sys_mem_free", "sys_mem_used", "sys_mem_usage", "sys_mem_actualfree", "sys_mem_buffers", "sys_mem_cached",
		"sys_mem_available", "sys_mem_shmem", "sys_swap_used", "sys_swap_free", "sys_swap_usage") {
		h.System.setMemory(parseMeminfo(h.read(&h.meminfo)))
	}
	if want("sys_pages_in", "sys_pages_out", "sys_swap_in", "sys_swap_out", "sys_oom_kill") {
		h.sampleVmstat()
	}
	if want("sys_net_in", "sys_net_out", "sys_net_errs") {
		h.sampleNet()
	}
	if want("sys_net_sockets") {
		h.sampleSockets()
	}
	if want("sys_net_sockets", "sys_net_tcp_details") {
		h.sampleTCP()
	}
	if want("sys_processes") {
		h.sampleProcesses()
	}
	if want("sys_uptime") {
		h.System.Uptime = parseUptime(h.read(&h.uptime))
	}
	p := &h.System.Pressure
	if want("sys_pressure_cpu") {
		p.CPUSome, _ = parsePressure(h.read(&h.pressureCPU))
	}
	if want("sys_pressure_memory") {
		p.MemorySome, p.MemoryFull = parsePressure(h.read(&h.pressureMemory))
	}
	if want("sys_pressure_io") {
		p.IOSome, p.IOFull = parsePressure(h.read(&h.pressureIO))
	}
	if want("sys_disk_io") {
		h.sampleDisks()
	}
	if len(h.errs) == 0 {
		return nil
	}
	return errors.Join(h.errs...)
}

// read returns what is in a file, nothing where it cannot be read. It is valid
// until the next read.
func (h *Host) read(f *file) []byte {
	b, err := f.read(h.buf)
	if cap(b) > cap(h.buf) {
		h.buf = b
	}
	h.fail(err)
	return b
}

// fail notes an error unless it only says that a thing is not there, or its
// cause was told before.
func (h *Host) fail(err error) {
	if err == nil || gone(err) {
		return
	}
	if cause := err.Error(); !h.told[cause] && len(h.told) < 1000 {
		h.told[cause] = true
		h.errs = append(h.errs, err)
	}
}

func (h *Host) sampleStat() {
	b := h.read(&h.stat)
	at := h.clock()
	st := parseStat(b)
	h.System.Interrupts = h.interrupts.perSecond(st.intr, at)
	h.System.ContextSwitches = h.switches.perSecond(st.ctxt, at)
	h.System.setCPU(h.cpu, st.cpu)
	if st.cpu[cpuIdle].ok {
		h.cpu = st.cpu
	}
}

// setCPU sets the shares of CPU time between two readings.
func (s *System) setCPU(old, now [cpuColumns]count) {
	var diff [cpuColumns]float64
	var ok [cpuColumns]bool
	total := 0.
	for i := range diff {
		ok[i] = old[i].ok && now[i].ok
		if ok[i] && now[i].n > old[i].n {
			diff[i] = float64(now[i].n - old[i].n)
		}
		if i <= cpuSteal { // guests are inside user and nice
			total += diff[i]
		}
	}
	if !ok[cpuIdle] { // nor would the total be right
		return
	}
	c := &s.CPU
	for i, to := range [...]*Value{cpuUser: &c.User, cpuNice: &c.Nice, cpuSystem: &c.System, cpuIdle: &c.Idle, cpuIOWait: &c.IOWait,
		cpuIRQ: &c.IRQ, cpuSoftIRQ: &c.SoftIRQ, cpuSteal: &c.Steal} {
		if ok[i] {
			*to = percent(diff[i], total)
		}
	}
	if ok[cpuGuest] {
		c.Guest = percent(diff[cpuGuest]+diff[cpuGuestNice], total)
	}
	if c.Idle.OK {
		c.Usage = Known(100 - c.Idle.V)
	}
}

// setMemory sets the memory from /proc/meminfo.
func (s *System) setMemory(i meminfo) {
	const mib = 1. / 1024
	m := &s.Memory
	m.Free = i.free.value().scaled(mib)
	m.Buffers = i.buffers.value().scaled(mib)
	m.Cached = i.cached.value().scaled(mib)
	m.Available = i.available.value().scaled(mib)
	m.Shmem = i.shmem.value().scaled(mib)
	if free := i.free.add(i.buffers).add(i.cached); free.ok {
		m.ActualFree = free.value().scaled(mib)
		if i.total.ok {
			// In a container total may be less than what is called free.
			used := max(0, float64(i.total.n)-float64(free.n))
			m.Used = Known(used * mib)
			m.Usage = percent(used, float64(i.total.n))
		}
	}
	if i.swapTotal.ok && i.swapFree.ok {
		total, free := float64(i.swapTotal.n), float64(i.swapFree.n)
		used := max(0, total-free)
		m.SwapUsed, m.SwapFree = Known(used*mib), Known(free*mib)
		m.SwapUsage = Known(0)
		if total > 0 {
			m.SwapUsage = percent(used, total)
		}
	}
}

func (h *Host) sampleVmstat() {
	b := h.read(&h.vmstat)
	at := h.clock()
	v := parseVmstat(b)
	h.System.PagesIn = h.pgpgin.perSecond(v.pgpgin, at)
	h.System.PagesOut = h.pgpgout.perSecond(v.pgpgout, at)
	h.System.SwapIn = h.pswpin.perSecond(v.pswpin, at)
	h.System.SwapOut = h.pswpout.perSecond(v.pswpout, at)
	h.System.OOMKills = v.oomKill.value()
}

// known remembers things by name, in the order in which they were last seen.
type known[T any] struct {
	byName map[string]*T
	order  []*T
	next   int
	seen   uint64
}

// named is what known remembers.
type named struct {
	name string
	seen uint64
}

func (n *named) id() *named { return n }

// begin starts a pass over all things.
func (k *known[T]) begin() { k.next, k.seen = 0, k.seen+1 }

// see returns the thing of this name, made if it is new.
func see[T any, P interface {
	*T
	id() *named
}](k *known[T], name []byte, fresh func(P)) P {
	if k.next < len(k.order) {
		if p := P(k.order[k.next]); p.id().name == string(name) && p.id().seen != k.seen {
			p.id().seen = k.seen
			k.next++
			return p
		}
	}
	p, ok := k.byName[string(name)]
	if !ok {
		if k.byName == nil {
			k.byName = map[string]*T{}
		}
		p = new(T)
		P(p).id().name = string(name)
		k.byName[P(p).id().name] = p
		fresh(p)
	}
	q := P(p)
	if q.id().seen != k.seen { // a name seen twice counts once
		q.id().seen = k.seen
		if k.next < len(k.order) {
			k.order[k.next] = p
		} else {
			k.order = append(k.order, p)
		}
		k.next++
	}
	return q
}

// end forgets what was not seen in this pass.
func end[T any, P interface {
	*T
	id() *named
}](k *known[T]) {
	clear(k.order[k.next:])
	k.order = k.order[:k.next]
	if len(k.byName) > len(k.order) {
		for name, p := range k.byName {
			if P(p).id().seen != k.seen {
				delete(k.byName, name)
			}
		}
	}
}

// netIf is an interface.
type netIf struct {
	named
	physical        bool
	hasRoute        bool
	counters        netCounters
	inRate, outRate rate
	in, out, errs   string
}

func (h *Host) sampleNet() {
	at := h.readNet()
	s := &h.System
	in, out := Value{}, Value{}
	inReset, outReset := false, false
	for i, n := range h.chosen {
		vin, r := n.inRate.next(n.counters.in, at)
		inReset = inReset || r
		vout, r2 := n.outRate.next(n.counters.out, at)
		outReset = outReset || r2
		vin, vout = vin.scaled(1./1024), vout.scaled(1./1024)
		in, out = plus(in, vin), plus(out, vout)
		if i < MaxInterfaces {
			if n.in == "" {
				n.in, n.out, n.errs = n.name+"_in", n.name+"_out", n.name+"_errs"
			}
			s.Interfaces = append(s.Interfaces, Interface{Name: n.name, In: vin, Out: vout, Errs: n.counters.errs.value(),
				in: n.in, out: n.out, errs: n.errs})
		}
	}
	s.InterfacesLeft = len(h.chosen) - len(s.Interfaces)
	// A total without an interface that was reset would be no total.
	if !inReset {
		s.NetIn = in
	}
	if !outReset {
		s.NetOut = out
	}
}

// plus adds what is known.
func plus(a, b Value) Value {
	switch {
	case !b.OK:
		return a
	case !a.OK:
		return b
	}
	return Known(a.V + b.V)
}

// readNet reads the counters and chooses the interfaces that count: the
// physical ones, else (in a container) those with a default route. It returns
// the time of the counters.
func (h *Host) readNet() time.Duration {
	h.nets.begin()
	physical := 0
	b := h.read(&h.netDev)
	at := h.clock()
	parseNetDev(b, func(name []byte, c netCounters) {
		n := see(&h.nets, name, func(n *netIf) { n.physical = h.isDevice("class/net", n.name) })
		if c.in.n < n.counters.in.n { // it may be another of the same name
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
		parseRoute(h.read(&h.route), mark)
		parseIPv6Route(h.read(&h.route6), mark)
	}
	h.chosen = h.chosen[:0]
	for _, n := range h.nets.order {
		if n.physical || physical == 0 && n.hasRoute {
			h.chosen = append(h.chosen, n)
		}
	}
	return at
}

// isDevice reports whether a thing of this class has a device behind it.
func (h *Host) isDevice(class, name string) bool {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return false
	}
	var st syscall.Stat_t
	path := h.fs.Sys + "/" + class + "/" + name + "/device"
	err := syscall.Stat(path, &st)
	if err != nil && !gone(err) {
		h.fail(&fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return err == nil
}

// disk is a block device.
type disk struct {
	named
	physical    bool
	read, write rate
}

func (h *Host) sampleDisks() {
	b := h.read(&h.diskstats)
	at := h.clock()
	s := &h.System
	readReset, writeReset := false, false
	h.disks.begin()
	parseDiskstats(b, func(name []byte, read, written count) {
		d := see(&h.disks, name, func(d *disk) { d.physical = h.isDevice("block", strings.ReplaceAll(d.name, "/", "!")) })
		if !d.physical {
			return
		}
		v, r := d.read.next(read, at)
		s.DiskRead, readReset = plus(s.DiskRead, v.scaled(.5)), readReset || r
		v, r = d.write.next(written, at)
		s.DiskWrite, writeReset = plus(s.DiskWrite, v.scaled(.5)), writeReset || r
	})
	end[disk](&h.disks)
	if readReset {
		s.DiskRead = Value{}
	}
	if writeReset {
		s.DiskWrite = Value{}
	}
}

func (h *Host) sampleSockets() {
	s := &h.System.Sockets
	s.UDP = plus(parseSockstat(h.read(&h.sockstat)).value(), parseSockstat(h.read(&h.sockstat6)).value())
	p := parseProtocols(h.read(&h.protocols))
	if !p.unix.ok {
		p.unix = parseNetUnix(h.read(&h.unix))
	}
	s.Unix, s.ICMP = p.unix.value(), p.icmp.value()
}

func (h *Host) sampleTCP() {
	var states tcpStates
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
		f := file{path: h.fs.net(name)} // too seldom to keep it open
		b := h.read(&f)
		f.close()
		if len(b) > 0 {
			ok = true
			parseNetTCP(b, &states)
		}
	}
	if ok {
		h.System.setTCP(&states)
	}
}

func (s *System) setTCP(states *tcpStates) {
	sum := uint64(0)
	for i, n := range states {
		s.Sockets.TCPStates[i] = Known(float64(n))
		sum += n
	}
	s.Sockets.TCP = Known(float64(sum))
}

func (h *Host) sampleProcesses() {
	var counts processCounts
	var err error
	if h.Jobs != nil {
		counts, err = h.Jobs.processes()
	} else {
		err = h.scan.scan(nil)
		counts = h.scan.counts
	}
	h.fail(err)
	if counts.n == 0 { // no proc file system: at least we would be there
		return
	}
	h.System.Processes = Known(float64(counts.n))
	for i, n := range counts.states {
		h.System.ProcessStates[i] = Known(float64(n))
	}
}
