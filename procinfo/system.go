package procinfo

import (
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/xdr"
)

// System is a sample of a host. Rates and shares are those since the previous sample, and
// unknown in the first.
type System struct {
	Load [3]Value // load averages over 1, 5 and 15 minutes

	// CPU holds the shares of the time of all CPUs, in percent.
	CPU struct {
		User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal Value
		Guest                                                 Value // included in User and Nice
		Usage                                                 Value // 100 - Idle
	}
	Interrupts, ContextSwitches Value // 1/s

	// Memory is in MiB, except usages, which are in percent.
	Memory struct {
		Free, Used, Usage, ActualFree, Buffers, Cached, Available, Shmem Value
		SwapUsed, SwapFree, SwapUsage                                    Value
	}
	PagesIn, PagesOut Value // KiB/s
	SwapIn, SwapOut   Value // pages/s
	OOMKills          Value // processes killed because memory was short, since boot

	// Interfaces are the first MaxInterfaces interfaces whose traffic counts. InterfacesLeft
	// is the number of the others. The totals include all.
	Interfaces     []Interface
	InterfacesLeft int
	NetIn, NetOut  Value // KiB/s

	Sockets struct {
		TCP, UDP, Unix, ICMP Value
		TCPStates            [12]Value // by the kernel's number of the state; index 0 counts unknown states
	}

	Processes     Value
	ProcessStates processStates // in the order "DRSTZI"

	Uptime Value // s

	// Pressure is the share of the last minute in which some, or all, tasks waited, in
	// percent.
	Pressure struct {
		CPUSome, MemorySome, MemoryFull, IOSome, IOFull Value
	}

	DiskRead, DiskWrite Value // KiB/s, of the physical devices
}

// processStates are numbers of processes by state.
type processStates = [len(process.States)]Value

// Interface holds the traffic of a network interface.
type Interface struct {
	Name    string
	In, Out Value // KiB/s
	Errs    Value // in both directions, since the interface was created

	in, out, errs string // names of the parameters
}

// MaxInterfaces bounds the interfaces that are reported by name.
const MaxInterfaces = 32

// setCPU sets the shares of CPU time between two readings.
func (s *System) setCPU(old, now [kernel.CPUColumns]kernel.Count) {
	var diff [kernel.CPUColumns]float64
	var ok [kernel.CPUColumns]bool
	total := 0.
	for i := range diff {
		ok[i] = old[i].OK && now[i].OK
		if ok[i] && now[i].N > old[i].N {
			diff[i] = float64(now[i].N - old[i].N)
		}
		if i <= kernel.CPUSteal { // user and nice include guests
			total += diff[i]
		}
	}
	if !ok[kernel.CPUIdle] { // the total would be wrong, too
		return
	}
	c := &s.CPU
	for i, to := range [...]*Value{kernel.CPUUser: &c.User, kernel.CPUNice: &c.Nice, kernel.CPUSystem: &c.System, kernel.CPUIdle: &c.Idle, kernel.CPUIOWait: &c.IOWait,
		kernel.CPUIRQ: &c.IRQ, kernel.CPUSoftIRQ: &c.SoftIRQ, kernel.CPUSteal: &c.Steal} {
		if ok[i] {
			*to = Percent(diff[i], total)
		}
	}
	if ok[kernel.CPUGuest] {
		c.Guest = Percent(diff[kernel.CPUGuest]+diff[kernel.CPUGuestNice], total)
	}
	if c.Idle.OK {
		c.Usage = Known(100 - c.Idle.V)
	}
}

// setMemory sets the values of /proc/meminfo.
func (s *System) setMemory(i kernel.Meminfo) {
	const mib = 1. / 1024
	m := &s.Memory
	m.Free = KnownIf(i.Free.Float()).Scaled(mib)
	m.Buffers = KnownIf(i.Buffers.Float()).Scaled(mib)
	m.Cached = KnownIf(i.Cached.Float()).Scaled(mib)
	m.Available = KnownIf(i.Available.Float()).Scaled(mib)
	m.Shmem = KnownIf(i.Shmem.Float()).Scaled(mib)
	if free := i.Free.Add(i.Buffers).Add(i.Cached); free.OK {
		m.ActualFree = KnownIf(free.Float()).Scaled(mib)
		if i.Total.OK {
			// In a container, the total may be less than the free memory.
			used := max(0, float64(i.Total.N)-float64(free.N))
			m.Used = Known(used * mib)
			m.Usage = Percent(used, float64(i.Total.N))
		}
	}
	if i.SwapTotal.OK && i.SwapFree.OK {
		total, free := float64(i.SwapTotal.N), float64(i.SwapFree.N)
		used := max(0, total-free)
		m.SwapUsed, m.SwapFree = Known(used*mib), Known(free*mib)
		m.SwapUsage = Known(0)
		if total > 0 {
			m.SwapUsage = Percent(used, total)
		}
	}
}

// setNet sets the traffic of the chosen interfaces.
func (s *System) setNet(chosen []*netIf, at time.Duration) {
	const kib = 1. / 1024
	var in, out total
	for i, n := range chosen {
		vin := in.add(&n.inRate, n.counters.In, at, kib)
		vout := out.add(&n.outRate, n.counters.Out, at, kib)
		if i < MaxInterfaces {
			if n.in == "" {
				n.in, n.out, n.errs = n.name+"_in", n.name+"_out", n.name+"_errs"
			}
			s.Interfaces = append(s.Interfaces, Interface{Name: n.name, In: vin, Out: vout, Errs: KnownIf(n.counters.Errs.Float()),
				in: n.in, out: n.out, errs: n.errs})
		}
	}
	s.InterfacesLeft = len(chosen) - len(s.Interfaces)
	s.NetIn, s.NetOut = in.value(), out.value()
}

// setTCP sets the TCP sockets.
func (s *System) setTCP(states *kernel.TCPStates) {
	sum := uint64(0)
	for i, n := range states {
		s.Sockets.TCPStates[i] = Known(float64(n))
		sum += n
	}
	s.Sockets.TCP = Known(float64(sum))
}

// Append appends the parameters that are chosen and known.
func (s *System) Append(params []xdr.Param, choose Choice) []xdr.Param {
	return appendRows(systemRows(), s, params, choose)
}

// readings returns the files that the chosen parameters of a host need; all if c is nil.
func (c Choice) readings() (need reading) {
	if c == nil {
		return ^reading(0)
	}
	rows := systemRows()
	for i := range rows {
		if r := &rows[i]; need&r.reads != r.reads {
			if on, _ := c(r.Option); on {
				need |= r.reads
			}
		}
	}
	return need
}

var systemRows = sync.OnceValue(func() []row[System] {
	type S = System
	num := func(option, name, unit, meaning, source string, get func(*S) Value, aliases ...Alias) row[S] {
		return row[S]{Metric: Metric{Category: "system", Option: "sys_" + option, Name: name, Unit: unit, Meaning: meaning, Source: source, Aliases: aliases}, num: get}
	}
	const mem, vm, cpu = "/proc/meminfo", "/proc/vmstat", "/proc/stat"
	rows := []row[S]{
		num("load1", "load1", "", "load average over 1 minute", "/proc/loadavg", func(s *S) Value { return s.Load[0] }),
		num("load5", "load5", "", "load average over 5 minutes", "/proc/loadavg", func(s *S) Value { return s.Load[1] }),
		num("load15", "load15", "", "load average over 15 minutes", "/proc/loadavg", func(s *S) Value { return s.Load[2] }),

		num("cpu_usr", "cpu_usr", "%", "CPU time in user mode, guests included", cpu, func(s *S) Value { return s.CPU.User }),
		num("cpu_nice", "cpu_nice", "%", "CPU time in user mode at low priority", cpu, func(s *S) Value { return s.CPU.Nice }),
		num("cpu_sys", "cpu_sys", "%", "CPU time in the kernel", cpu, func(s *S) Value { return s.CPU.System }),
		num("cpu_idle", "cpu_idle", "%", "CPU time idle", cpu, func(s *S) Value { return s.CPU.Idle }),
		num("cpu_iowait", "cpu_iowait", "%", "CPU time idle while I/O was outstanding", cpu, func(s *S) Value { return s.CPU.IOWait }),
		num("cpu_irq", "cpu_irq", "%", "CPU time in interrupts", cpu, func(s *S) Value { return s.CPU.IRQ }),
		num("cpu_softirq", "cpu_softirq", "%", "CPU time in soft interrupts", cpu, func(s *S) Value { return s.CPU.SoftIRQ }),
		num("cpu_steal", "cpu_steal", "%", "CPU time taken by the hypervisor", cpu, func(s *S) Value { return s.CPU.Steal }),
		num("cpu_guest", "cpu_guest", "%", "CPU time in guests, part of cpu_usr and cpu_nice", cpu, func(s *S) Value { return s.CPU.Guest }),
		num("cpu_usage", "cpu_usage", "%", "100 - cpu_idle, of all CPUs", cpu, func(s *S) Value { return s.CPU.Usage }),
		num("interrupts", "interrupts_R", "1/s", "interrupts", cpu, func(s *S) Value { return s.Interrupts },
			Alias{"sys_interrupts_R", "interrupts_R"}),
		num("context_switches", "context_switches_R", "1/s", "context switches", cpu, func(s *S) Value { return s.ContextSwitches },
			Alias{"sys_context_switches_R", "context_switches_R"}),

		num("mem_free", "mem_free", "MB", "unused memory", mem, func(s *S) Value { return s.Memory.Free }),
		num("mem_used", "mem_used", "MB", "memory without free, buffers and page cache", mem, func(s *S) Value { return s.Memory.Used }),
		num("mem_usage", "mem_usage", "%", "mem_used / total memory", mem, func(s *S) Value { return s.Memory.Usage }),
		num("mem_actualfree", "mem_actualfree", "MB", "free memory with buffers and page cache", mem, func(s *S) Value { return s.Memory.ActualFree }),
		num("mem_buffers", "mem_buffers", "MB", "buffers of block devices", mem, func(s *S) Value { return s.Memory.Buffers }),
		num("mem_cached", "mem_cached", "MB", "page cache", mem, func(s *S) Value { return s.Memory.Cached }),
		num("mem_available", "mem_available", "MB", "memory available to new programs without swapping", mem, func(s *S) Value { return s.Memory.Available }),
		num("mem_shmem", "mem_shmem", "MB", "shared memory and tmpfs", mem, func(s *S) Value { return s.Memory.Shmem }),
		num("swap_used", "swap_used", "MB", "swap space in use", mem, func(s *S) Value { return s.Memory.SwapUsed }),
		num("swap_free", "swap_free", "MB", "free swap space", mem, func(s *S) Value { return s.Memory.SwapFree }),
		num("swap_usage", "swap_usage", "%", "swap_used / total swap space, 0 without swap", mem, func(s *S) Value { return s.Memory.SwapUsage }),
		num("pages_in", "pages_in", "KB/s", "read from block devices", vm+" pgpgin", func(s *S) Value { return s.PagesIn },
			Alias{"sys_blocks_in", "blocks_in_R"}, Alias{"sys_blocks_in_R", "blocks_in_R"}),
		num("pages_out", "pages_out", "KB/s", "written to block devices", vm+" pgpgout", func(s *S) Value { return s.PagesOut },
			Alias{"sys_blocks_out", "blocks_out_R"}, Alias{"sys_blocks_out_R", "blocks_out_R"}),
		num("swap_in", "swap_in", "pages/s", "read from swap", vm+" pswpin", func(s *S) Value { return s.SwapIn },
			Alias{"sys_swap_in_R", "swap_in_R"}),
		num("swap_out", "swap_out", "pages/s", "written to swap", vm+" pswpout", func(s *S) Value { return s.SwapOut },
			Alias{"sys_swap_out_R", "swap_out_R"}),
	}

	each := func(option, name, unit, meaning string, get func(*Interface) (string, Value)) row[S] {
		r := num(option, name, unit, meaning, "/proc/net/dev", nil)
		r.each = func(s *S, params []xdr.Param) []xdr.Param {
			for i := range s.Interfaces {
				if name, v := get(&s.Interfaces[i]); v.OK {
					params = append(params, xdr.Float(name, v.V))
				}
			}
			return params
		}
		return r
	}
	rows = append(rows,
		each("net_in", "IF_in", "KB/s", "received by an interface: the physical ones, or without any those with a default route; at most 32 by name",
			func(i *Interface) (string, Value) { return i.in, i.In }),
		num("net_in", "total_traffic_in", "KB/s", "received by all of these interfaces", "/proc/net/dev", func(s *S) Value { return s.NetIn }),
		each("net_out", "IF_out", "KB/s", "sent by an interface", func(i *Interface) (string, Value) { return i.out, i.Out }),
		num("net_out", "total_traffic_out", "KB/s", "sent by all of these interfaces", "/proc/net/dev", func(s *S) Value { return s.NetOut }),
		each("net_errs", "IF_errs", "count", "errors of receiving and sending, since the interface was created",
			func(i *Interface) (string, Value) { return i.errs, i.Errs }),
	)

	const diag = "netlink sock_diag"
	old := Alias{"sys_net_socket", ""}
	sockets := func(name, meaning, source string, get func(*S) Value) row[S] {
		old := old
		old.Name = name
		return num("net_sockets", name, "count", meaning, source, get, old)
	}
	rows = append(rows,
		sockets("sockets_tcp", "TCP sockets in any state, IPv4 and IPv6", diag, func(s *S) Value { return s.Sockets.TCP }),
		sockets("sockets_udp", "UDP sockets, IPv4 and IPv6", "/proc/net/sockstat, sockstat6", func(s *S) Value { return s.Sockets.UDP }),
		sockets("sockets_unix", "Unix sockets", "/proc/net/protocols, else unix", func(s *S) Value { return s.Sockets.Unix }),
		sockets("sockets_icm", "ICMP sockets", "/proc/net/protocols", func(s *S) Value { return s.Sockets.ICMP }),
	)
	for _, i := range [...]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0} { // unknown last
		rows = append(rows, num("net_tcp_details", "sockets_tcp_"+kernel.TCPStateNames[i], "count", "TCP sockets in state "+kernel.TCPStateNames[i], diag,
			func(s *S) Value { return s.Sockets.TCPStates[i] }))
	}

	rows = append(rows, num("processes", "processes", "count", "processes", "/proc", func(s *S) Value { return s.Processes }))
	states := [...]string{"waiting for a device", "running", "sleeping", "stopped", "dead but not reaped", "idle (kernel threads)"}
	for i, state := range states {
		rows = append(rows, num("processes", "processes_"+process.States[i:i+1], "count", "processes "+state, "/proc/PID/stat",
			func(s *S) Value { return s.ProcessStates[i] }))
	}
	rows = append(rows,
		num("uptime", "uptime", "days", "time since boot", "/proc/uptime", func(s *S) Value { return s.Uptime.Scaled(1. / 86400) }),
		num("pressure_cpu", "psi_cpu_some", "%", "time in the last minute in which some task waited for a CPU", "/proc/pressure/cpu", func(s *S) Value { return s.Pressure.CPUSome }),
		num("pressure_memory", "psi_memory_some", "%", "same for memory", "/proc/pressure/memory", func(s *S) Value { return s.Pressure.MemorySome }),
		num("pressure_memory", "psi_memory_full", "%", "time in which all tasks waited for memory", "/proc/pressure/memory", func(s *S) Value { return s.Pressure.MemoryFull }),
		num("pressure_io", "psi_io_some", "%", "time in which some task waited for I/O", "/proc/pressure/io", func(s *S) Value { return s.Pressure.IOSome }),
		num("pressure_io", "psi_io_full", "%", "time in which all tasks waited for I/O", "/proc/pressure/io", func(s *S) Value { return s.Pressure.IOFull }),
		num("oom_kill", "oom_kill", "count", "processes killed because memory was short, since boot", vm, func(s *S) Value { return s.OOMKills }),
		num("disk_io", "disk_read", "KB/s", "read from physical disks", "/proc/diskstats", func(s *S) Value { return s.DiskRead }),
		num("disk_io", "disk_write", "KB/s", "written to physical disks", "/proc/diskstats", func(s *S) Value { return s.DiskWrite }),
	)
	for i := range rows {
		rows[i].reads = readingOf(rows[i].Source)
	}
	return rows
})
