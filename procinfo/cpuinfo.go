package procinfo

import (
	"bytes"
	"strings"
)

// cpuinfo is what /proc/cpuinfo tells; which of it, differs between
// architectures.
type cpuinfo struct {
	processors                       int
	vendor, family, model, modelName string
	implementer, architecture, part  string // ARM
	machine                          string // older ARM: Model, else Hardware
	mhz                              Value  // mean
	cacheKB                          Value
	bogomips                         Value
	cores                            count // pairs of physical and core id
}

// parseCPUInfo reads /proc/cpuinfo.
func parseCPUInfo(b []byte) (c cpuinfo) {
	sum, n := 0., 0
	cores := map[[2]string]bool{}
	physical := ""
	first := func(to *string, v string) {
		if *to == "" {
			*to = v
		}
	}
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, val, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		v := string(bytes.TrimSpace(val))
		switch string(bytes.TrimSpace(key)) {
		case "processor":
			// Old 32-bit ARM: "Processor : ARMv7 …", with a capital.
			if parseUint([]byte(v)).ok {
				c.processors++
				physical = ""
			}
		case "vendor_id":
			first(&c.vendor, v)
		case "cpu family":
			first(&c.family, v)
		case "model":
			first(&c.model, v)
		case "model name":
			first(&c.modelName, v)
		case "CPU implementer":
			first(&c.implementer, v)
		case "CPU architecture":
			first(&c.architecture, v)
		case "CPU part":
			first(&c.part, v)
		case "Model":
			c.machine = v
		case "Hardware":
			first(&c.machine, v)
		case "cpu MHz":
			if m := parseDecimal([]byte(v)); m.OK {
				sum += m.V
				n++
			}
		case "cache size":
			if f := strings.Fields(v); !c.cacheKB.OK && len(f) == 2 && f[1] == "KB" {
				c.cacheKB = parseUint([]byte(f[0])).value()
			}
		case "bogomips", "BogoMIPS":
			if !c.bogomips.OK {
				c.bogomips = parseDecimal([]byte(v))
			}
		case "physical id":
			physical = v
		case "core id":
			if physical != "" {
				cores[[2]string{physical, v}] = true
			}
		}
	}
	if n > 0 {
		c.mhz = Known(sum / float64(n))
	}
	if len(cores) > 0 {
		c.cores = count{uint64(len(cores)), true}
	}
	return c
}

// parseOSRelease returns PRETTY_NAME of os-release(5), else NAME.
func parseOSRelease(b []byte) string {
	var name, pretty string
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, val, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "NAME":
			name = unquote(val)
		case "PRETTY_NAME":
			pretty = unquote(val)
		}
	}
	if pretty != "" {
		return pretty
	}
	return name
}

// unquote undoes a shell's quoting as os-release uses it.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' && s[0] != '\'' || s[len(s)-1] != s[0] {
		return s
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	if quote == '\'' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseCacheSize reads a cache's size in sysfs, such as "8192K" or "32M", in KiB.
func parseCacheSize(b []byte) Value {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return Value{}
	}
	f := 1.
	switch b[len(b)-1] {
	case 'K':
	case 'M':
		f = 1024
	case 'G':
		f = 1 << 20
	default:
		return Value{}
	}
	return parseUint(b[:len(b)-1]).value().scaled(f)
}

// parseIfInet6 reads /proc/net/if_inet6 and returns the first global address,
// in 32 hexadecimal digits, of each interface: public ones before unique local
// ones; temporary, deprecated and unconfirmed ones do not count.
func parseIfInet6(b []byte) map[string]string {
	m := map[string]string{}
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		f := bytes.Fields(line)
		if len(f) < 6 || len(f[0]) != 32 {
			continue
		}
		const temporary, dadFailed, deprecated, tentative = 0x01, 0x08, 0x20, 0x40
		scope, flags := parseHex(f[3]), parseHex(f[4])
		if !scope.ok || scope.n != 0 || !flags.ok || flags.n&(temporary|dadFailed|deprecated|tentative) != 0 {
			continue
		}
		name, addr := string(f[5]), string(f[0])
		if old, ok := m[name]; !ok || uniqueLocal(old) && !uniqueLocal(addr) {
			m[name] = addr
		}
	}
	return m
}

func uniqueLocal(addr string) bool {
	return strings.HasPrefix(addr, "fc") || strings.HasPrefix(addr, "fd")
}

// mount is a mounted cgroup hierarchy.
type mount struct {
	root, point string
	controllers string // comma-separated; empty for version 2
}

// parseMountinfo returns the cgroup hierarchies of /proc/PID/mountinfo.
func parseMountinfo(b []byte) (mounts []mount) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		left, right, ok := strings.Cut(string(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 1 {
			continue
		}
		m := mount{root: l[3], point: l[4]}
		switch r[0] {
		case "cgroup2":
		case "cgroup":
			if len(r) < 3 {
				continue
			}
			m.controllers = r[2]
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// parseCgroup returns the cgroup of /proc/PID/cgroup that a controller is in,
// of version 2 where the controller is empty.
func parseCgroup(b []byte, controller string) (path string, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		f := strings.SplitN(string(line), ":", 3)
		if len(f) == 3 && hasController(f[1], controller) {
			return f[2], true
		}
	}
	return "", false
}

// hasController reports whether a comma-separated list holds the name.
func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// parseStatusCPUs returns how many CPUs /proc/PID/status allows.
func parseStatusCPUs(b []byte) count {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		if list, ok := bytes.CutPrefix(line, []byte("Cpus_allowed_list:")); ok {
			return parseCPUList(list)
		}
	}
	return count{}
}
