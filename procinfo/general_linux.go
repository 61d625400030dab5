package procinfo

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// General reads the values that seldom change. Its error is as that of Sample.
func (h *Host) General() (*General, error) {
	g := &General{Factors: h.Factors}
	h.hardware(g)
	g.Hostname = h.hostname()
	if g.Platform = h.line(h.fs.ProcPath("sys/kernel/arch")); g.Platform == "" { // before Linux 6.1
		g.Platform = unameMachine()
	}
	for _, name := range [...]string{"etc/os-release", "usr/lib/os-release"} {
		if g.OSType == "" {
			g.OSType = kernel.ParseOSRelease(h.content(h.fs.RootPath(name)))
		}
	}
	g.Container = h.container()
	h.addresses(g)
	return g, h.errs.Take()
}

// Hardware reads a part of General: CPU, memory, limits and the version of the kernel. Its
// error is as that of Sample.
func (h *Host) Hardware() (*General, error) {
	g := &General{Factors: h.Factors}
	h.hardware(g)
	return g, h.errs.Take()
}

func (h *Host) hardware(g *General) {
	g.KernelVersion = h.line(h.fs.ProcPath("sys/kernel/osrelease"))
	h.generalCPU(g)
	m := kernel.ParseMeminfo(h.content(h.fs.ProcPath("meminfo")))
	g.TotalMem, g.TotalSwap = KnownIf(m.Total.Float()).Scaled(1./1024), KnownIf(m.SwapTotal.Float()).Scaled(1./1024)
	h.limits(g)
}

// content returns the content of a file that is read too seldom to keep it open. The next
// read overwrites it.
func (h *Host) content(name string) []byte {
	f := process.File{Path: name}
	defer f.Close()
	return h.read(&f)
}

// line returns the content of a file that holds one line, or one zero-terminated string.
func (h *Host) line(name string) string {
	line, _ := kernel.NextLine(h.content(name))
	return strings.TrimSpace(strings.TrimRight(string(line), "\x00"))
}

func (h *Host) hostname() string {
	name := h.line(h.fs.ProcPath("sys/kernel/hostname"))
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	return qualify(name, string(h.content(h.fs.RootPath("etc/hosts"))), string(h.content(h.fs.RootPath("etc/resolv.conf"))))
}

// unameMachine returns the output of uname -m.
func unameMachine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}

func (h *Host) generalCPU(g *General) {
	i := kernel.ParseCPUInfo(h.content(h.fs.ProcPath("cpuinfo")))
	c := &g.CPU
	c.Vendor, c.Family, c.Model, c.ModelName = i.Vendor, i.Family, i.Model, i.ModelName
	if i.Implementer != "" {
		c.Vendor, c.Family, c.Model = i.Implementer, i.Architecture, i.Part
		for _, name := range [...]string{h.fs.ProcPath("device-tree/model"), h.fs.SysPath("firmware/devicetree/base/model")} {
			if c.ModelName == "" {
				c.ModelName = h.line(name)
			}
		}
	}
	if c.ModelName == "" {
		c.ModelName = i.Machine
	}
	c.MHz, c.CacheKB, c.Bogomips = KnownIf(i.MHz.Float()), KnownIf(i.CacheKB.Float()), KnownIf(i.Bogomips.Float())

	cpu := h.fs.SysPath("devices/system/cpu")
	online := kernel.ParseCPUList(h.content(cpu + "/online"))
	if !online.OK && i.Processors > 0 {
		online = kernel.Known(uint64(i.Processors))
	}
	c.Logical = KnownIf(online.Float())
	dirs := cpuDirs(cpu)
	cores := i.Cores
	if !cores.OK {
		cores = h.topology(dirs)
	}
	sockets := i.Sockets
	if !sockets.OK {
		sockets = h.packages(dirs)
	}
	c.Sockets = KnownIf(sockets.Float())
	if cores.N <= online.N || !online.OK {
		c.Cores = KnownIf(cores.Float())
	}
	switch active := h.line(cpu + "/smt/active"); {
	case active == "0" || active == "1":
		c.SMT = Known(float64(active[0] - '0'))
	case c.Cores.OK && c.Logical.OK:
		c.SMT = Known(0)
		if c.Logical.V > c.Cores.V {
			c.SMT = Known(1)
		}
	}
	if !c.MHz.OK {
		c.MHz = h.cpufreq(dirs)
	}
	if !c.CacheKB.OK {
		// The last level has the highest index.
		for n := range 10 {
			if v := kernel.ParseCacheSize(h.content(cpu + "/cpu0/cache/index" + strconv.Itoa(n) + "/size")); v.OK {
				c.CacheKB = KnownIf(v.Float())
			}
		}
	}
}

// cpuDirs returns the directories of the CPUs in sysfs.
func cpuDirs(dir string) (dirs []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if n, ok := strings.CutPrefix(e.Name(), "cpu"); ok && kernel.ParseUint([]byte(n)).OK {
			dirs = append(dirs, dir+"/"+e.Name())
		}
	}
	return dirs
}

// topology counts the cores of the CPUs that are online: offline CPUs have no topology.
func (h *Host) topology(dirs []string) kernel.Count {
	cores := map[[2]string]bool{}
	for _, dir := range dirs {
		core, pkg := h.line(dir+"/topology/core_id"), h.line(dir+"/topology/physical_package_id")
		if core == "" {
			continue
		}
		if list := h.line(dir + "/topology/thread_siblings_list"); list != "" {
			core, pkg = list, "" // core ids are not unique on some ARM hosts
		}
		cores[[2]string{pkg, core}] = true
	}
	return kernel.Count{N: uint64(len(cores)), OK: len(cores) > 0}
}

// packages counts the physical packages of the CPUs that are online.
func (h *Host) packages(dirs []string) kernel.Count {
	ids := map[uint64]bool{}
	for _, dir := range dirs {
		if id := kernel.ParseUint([]byte(h.line(dir + "/topology/physical_package_id"))); id.OK { // -1 if it is unknown
			ids[id.N] = true
		}
	}
	return kernel.Count{N: uint64(len(ids)), OK: len(ids) > 0}
}

// cpufreq returns the mean clock rate of the CPUs from cpufreq, in MHz.
func (h *Host) cpufreq(dirs []string) Value {
	sum, n := 0., 0
	for _, dir := range dirs {
		for _, name := range [...]string{"scaling_cur_freq", "cpuinfo_max_freq"} {
			if khz := kernel.ParseUint([]byte(h.line(dir + "/cpufreq/" + name))); khz.OK {
				sum += float64(khz.N) / 1000
				n++
				break
			}
		}
	}
	if n == 0 {
		return Value{}
	}
	return Known(sum / float64(n))
}

// limits finds the least limits of memory and CPUs for this process.
func (h *Host) limits(g *General) {
	least := func(to *Value, v Value) {
		if v.OK && (!to.OK || v.V < to.V) {
			*to = v
		}
	}
	least(&g.CPUsAllowed, KnownIf(kernel.ParseCPUList(kernel.ParseStatus(h.content(h.fs.ProcPath("self/status"))).CPUsAllowed).Float()))
	cgroups := bytes.Clone(h.content(h.fs.ProcPath("self/cgroup")))
	// Limits of version 1 that are as large as this mean no limit.
	const unlimited = 1 << 60
	for _, m := range kernel.CgroupMounts(kernel.ParseMountinfo(h.content(h.fs.ProcPath("self/mountinfo")))) {
		each := func(controller string, visit func(dir string)) {
			if m.Controllers != "" && !kernel.HasController(m.Controllers, controller) {
				return
			}
			if m.Controllers == "" {
				controller = ""
			}
			if cgroup, ok := kernel.ParseCgroup(cgroups, controller); ok {
				h.ancestors(m, cgroup, visit)
			}
		}
		num := func(name string) kernel.Count { return kernel.ParseUint([]byte(h.line(name))) }
		if m.Controllers == "" {
			each("", func(dir string) {
				if c := num(dir + "/memory.max"); c.OK && c.N < unlimited {
					least(&g.MemLimit, KnownIf(c.Float()).Scaled(1./(1<<20)))
				}
				quota, period, _ := strings.Cut(h.line(dir+"/cpu.max"), " ")
				least(&g.CPUQuota, cpuQuota(quota, period))
				least(&g.CPUsAllowed, KnownIf(kernel.ParseCPUList(h.content(dir+"/cpuset.cpus.effective")).Float()))
			})
			continue
		}
		each("memory", func(dir string) {
			if c := num(dir + "/memory.limit_in_bytes"); c.OK && c.N < unlimited {
				least(&g.MemLimit, KnownIf(c.Float()).Scaled(1./(1<<20)))
			}
		})
		each("cpu", func(dir string) {
			least(&g.CPUQuota, cpuQuota(h.line(dir+"/cpu.cfs_quota_us"), h.line(dir+"/cpu.cfs_period_us")))
		})
		each("cpuset", func(dir string) {
			least(&g.CPUsAllowed, KnownIf(kernel.ParseCPUList(h.content(dir+"/cpuset.effective_cpus")).Float()))
			least(&g.CPUsAllowed, KnownIf(kernel.ParseCPUList(h.content(dir+"/cpuset.cpus")).Float()))
		})
	}
	least(&g.CPUsAllowed, g.CPUQuota)
}

// cpuQuota returns a quota as a number of CPUs, unknown for "max" and "-1".
func cpuQuota(quota, period string) Value {
	q, p := kernel.ParseUint([]byte(quota)), kernel.ParseUint([]byte(strings.TrimSpace(period)))
	if !q.OK || !p.OK || p.N == 0 {
		return Value{}
	}
	return Known(float64(q.N) / float64(p.N))
}

// ancestors calls visit with the directory of a cgroup and those above it, up to the mount
// point of the hierarchy.
func (h *Host) ancestors(m kernel.Mount, cgroup string, visit func(dir string)) {
	// If only a part is mounted, cgroups outside of it are not visible.
	rel, _ := m.Below(cgroup)
	for top := h.fs.CgroupPath(m.Point); ; rel = path.Dir(rel) {
		visit(filepath.Join(top, rel))
		if rel == "/" {
			return
		}
	}
}

// container returns the kind of container that this process runs in, from the marks that
// container runtimes leave. It is empty outside.
func (h *Host) container() string {
	exists := func(name string) bool { _, err := os.Stat(h.fs.RootPath(name)); return err == nil }
	cgroups := h.content(h.fs.ProcPath("self/cgroup"))
	switch {
	case exists("run/secrets/kubernetes.io"), bytes.Contains(cgroups, []byte("kubepods")):
		return "kubernetes"
	case exists(".singularity.d"):
		return "apptainer"
	case exists("run/.containerenv"), bytes.Contains(cgroups, []byte("/libpod-")):
		return "podman"
	case exists(".dockerenv"), bytes.Contains(cgroups, []byte("/docker")):
		return "docker"
	case bytes.Contains(cgroups, []byte("/lxc")):
		return "lxc"
	}
	return h.line(h.fs.RootPath("run/systemd/container"))
}

// addresses reads the addresses of the interfaces whose traffic counts.
func (h *Host) addresses(g *General) {
	h.readNet()
	v6 := kernel.ParseIfInet6(h.content(h.fs.NetPath("if_inet6")))
	for i, n := range h.chosen {
		if i == MaxInterfaces {
			break
		}
		a := Address{Interface: n.name}
		if h.ipv4 != nil {
			a.IPv4 = h.ipv4(n.name)
		}
		if b, err := hex.DecodeString(v6[n.name]); err == nil && len(b) == 16 {
			a.IPv6 = netip.AddrFrom16([16]byte(b)).String()
		}
		if a.IPv4 != "" || a.IPv6 != "" {
			g.Addresses = append(g.Addresses, a)
		}
	}
}
