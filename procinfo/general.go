package procinfo

import (
	"fmt"
	"sync"

	"github.com/apmon-go/apmon/xdr"
)

// General holds the values of a host that seldom change.
type General struct {
	Hostname      string // fully qualified
	KernelVersion string // such as "6.1.0-21-amd64"
	Platform      string // the kernel's machine name, such as "x86_64"
	OSType        string // such as "Debian GNU/Linux 12 (bookworm)"
	Container     string // kind of the container, such as "docker"; empty outside

	Addresses []Address // of the interfaces whose traffic counts

	CPU struct {
		// On ARM, Vendor is the code of the implementer, Family the architecture, Model
		// the part, and ModelName the name in the device tree.
		Vendor, Family, Model, ModelName string
		MHz                              Value // mean of all CPUs
		Logical                          Value // logical CPUs that are online
		Cores                            Value // cores of the logical CPUs
		Sockets                          Value // physical packages
		SMT                              Value // 1 if a core runs more than one thread, otherwise 0
		CacheKB                          Value // KiB, of the last level
		Bogomips                         Value // of the first CPU
	}
	CPUsAllowed Value // CPUs that this process may use: the least of affinity, cpuset and quota
	CPUQuota    Value // CPUs, the least quota of this process's cgroups; unknown without

	TotalMem, TotalSwap Value // MiB
	MemLimit            Value // MiB, the least limit of this process's cgroups; unknown without

	Factors Factors
}

// Address holds the addresses of a network interface; empty for none.
type Address struct {
	Interface  string
	IPv4, IPv6 string // the first IPv4 address, and the first global IPv6 address
}

// Factors holds results of CPU benchmarks, per CPU. This package reports them, but does not
// measure them.
type Factors struct {
	KSI2K Value `json:"ksi2k"`
	DB12  Value `json:"db12"`
	HEP06 Value `json:"hep06"`
	HS23  Value `json:"hs23"`
}

// Set sets a factor by name: "ksi2k", "db12", "hep06" or "hs23". v must be positive.
func (f *Factors) Set(name string, v float64) error {
	to := map[string]*Value{"ksi2k": &f.KSI2K, "db12": &f.DB12, "hep06": &f.HEP06, "hs23": &f.HS23}[name]
	if to == nil {
		return fmt.Errorf("benchmark %q is none of ksi2k, db12, hep06, hs23", name)
	}
	if !(v > 0) || !Known(v).OK {
		return fmt.Errorf("benchmark %s of %v", name, v)
	}
	*to = Known(v)
	return nil
}

// Append appends the parameters that are chosen and known.
func (g *General) Append(params []xdr.Param, choose Choice) []xdr.Param {
	return appendRows(generalRows(), g, params, choose)
}

var generalRows = sync.OnceValue(func() []row[General] {
	type G = General
	metric := func(option, unit, meaning, source string) Metric {
		return Metric{Category: "general", Option: option, Name: option, Unit: unit, Meaning: meaning, Source: source}
	}
	num := func(option, unit, meaning, source string, get func(*G) Value) row[G] {
		return row[G]{Metric: metric(option, unit, meaning, source), num: get}
	}
	text := func(option, meaning, source string, get func(*G) string) row[G] {
		r := row[G]{Metric: metric(option, "", meaning, source), text: get}
		r.Text = true
		return r
	}
	address := func(option, suffix, meaning, source string, get func(*Address) string) row[G] {
		r := text(option, meaning, source, nil)
		r.Name = "IF" + suffix
		r.each = func(g *G, params []xdr.Param) []xdr.Param {
			for i := range g.Addresses {
				if s := get(&g.Addresses[i]); s != "" {
					params = append(params, xdr.String(g.Addresses[i].Interface+suffix, s))
				}
			}
			return params
		}
		return r
	}
	const cpuinfo = "/proc/cpuinfo"
	return []row[G]{
		text("hostname", "fully qualified host name", "/proc/sys/kernel/hostname, /etc/hosts, /etc/resolv.conf", func(g *G) string { return g.Hostname }),
		address("ip", "_ip", "first IPv4 address", "SIOCGIFADDR", func(a *Address) string { return a.IPv4 }),
		address("ipv6", "_ipv6", "first global IPv6 address", "/proc/net/if_inet6", func(a *Address) string { return a.IPv6 }),
		num("cpu_MHz", "MHz", "clock rate, mean of all CPUs", cpuinfo+", else cpufreq", func(g *G) Value { return g.CPU.MHz }),
		num("no_CPUs", "count", "logical CPUs online", "/sys/devices/system/cpu/online", func(g *G) Value { return g.CPU.Logical }),
		text("cpu_vendor_id", "vendor; on ARM the implementer", cpuinfo, func(g *G) string { return g.CPU.Vendor }),
		text("cpu_family", "family; on ARM the architecture", cpuinfo, func(g *G) string { return g.CPU.Family }),
		text("cpu_model", "model; on ARM the part", cpuinfo, func(g *G) string { return g.CPU.Model }),
		text("cpu_model_name", "name of the model", cpuinfo+", else the device tree", func(g *G) string { return g.CPU.ModelName }),
		num("cpu_cache", "KB", "last level cache", cpuinfo+", else /sys/devices/system/cpu/cpu0/cache", func(g *G) Value { return g.CPU.CacheKB }),
		num("bogomips", "", "the kernel's delay loop, of the first CPU", cpuinfo, func(g *G) Value { return g.CPU.Bogomips }),
		num("total_mem", "MB", "memory", "/proc/meminfo", func(g *G) Value { return g.TotalMem }),
		num("total_swap", "MB", "swap space", "/proc/meminfo", func(g *G) Value { return g.TotalSwap }),
		text("kernel_version", "release of the kernel", "/proc/sys/kernel/osrelease", func(g *G) string { return g.KernelVersion }),
		text("platform", "machine, as in uname -m", "/proc/sys/kernel/arch, else uname", func(g *G) string { return g.Platform }),
		text("os_type", "operating system", "PRETTY_NAME of os-release", func(g *G) string { return g.OSType }),
		num("ksi2k_factor", "kSI2k", "benchmark per CPU, if set", "configuration", func(g *G) Value { return g.Factors.KSI2K }),
		num("db12", "DB12", "same", "configuration", func(g *G) Value { return g.Factors.DB12 }),
		num("hep06", "HS06", "same", "configuration", func(g *G) Value { return g.Factors.HEP06 }),
		num("hs23", "HS23", "same", "configuration", func(g *G) Value { return g.Factors.HS23 }),
		num("cpu_cores", "count", "cores of the logical CPUs", cpuinfo+", else sysfs topology", func(g *G) Value { return g.CPU.Cores }),
		num("cpu_smt", "", "1 if cores run more than one thread, else 0", "/sys/devices/system/cpu/smt/active", func(g *G) Value { return g.CPU.SMT }),
		num("cpus_allowed", "count", "least of affinity, cpuset and cgroup quota", "/proc/self/status, cgroup", func(g *G) Value { return g.CPUsAllowed }),
		num("mem_limit", "MB", "least memory limit of the cgroup and its ancestors", "cgroup", func(g *G) Value { return g.MemLimit }),
		text("container", "kind of the container; absent outside", "/run/systemd/container, /.dockerenv, /proc/self/cgroup, …", func(g *G) string { return g.Container }),
	}
})
