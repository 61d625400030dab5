package kernel

import (
	"bytes"
	"strings"
)

// CPUInfo holds fields of /proc/cpuinfo. The kernel's set of fields varies by architecture.
type CPUInfo struct {
	Processors                       int // logical CPUs online
	Vendor, Family, Model, ModelName string
	Implementer, Architecture, Part  string  // ARM
	Machine                          string  // ARM and others: Model, otherwise Hardware
	MHz                              Decimal // mean of all CPUs
	CacheKB                          Count   // KiB, of the first CPU
	Bogomips                         Decimal // of the first CPU
	Cores                            Count   // different pairs of physical id and core id
	Sockets                          Count   // different physical ids
}

// ParseCPUInfo parses /proc/cpuinfo.
//
// See proc_cpuinfo(5).
func ParseCPUInfo(b []byte) (c CPUInfo) {
	sum, n := 0., 0
	cores, sockets := map[[2]string]bool{}, map[string]bool{}
	physical := ""
	first := func(to *string, v string) {
		if *to == "" {
			*to = v
		}
	}
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, val, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		v := string(bytes.TrimSpace(val))
		switch string(bytes.TrimSpace(key)) {
		case "processor":
			// Old 32-bit ARM kernels have another line, "Processor : ARMv7 …".
			if ParseUint([]byte(v)).OK {
				c.Processors++
				physical = ""
			}
		case "vendor_id":
			first(&c.Vendor, v)
		case "cpu family":
			first(&c.Family, v)
		case "model":
			first(&c.Model, v)
		case "model name":
			first(&c.ModelName, v)
		case "CPU implementer":
			first(&c.Implementer, v)
		case "CPU architecture":
			first(&c.Architecture, v)
		case "CPU part":
			first(&c.Part, v)
		case "Model":
			c.Machine = v
		case "Hardware":
			first(&c.Machine, v)
		case "cpu MHz":
			if m := ParseDecimal([]byte(v)); m.OK {
				sum += m.V
				n++
			}
		case "cache size":
			if f := strings.Fields(v); !c.CacheKB.OK && len(f) == 2 && f[1] == "KB" {
				c.CacheKB = ParseUint([]byte(f[0]))
			}
		case "bogomips", "BogoMIPS":
			if !c.Bogomips.OK {
				c.Bogomips = ParseDecimal([]byte(v))
			}
		case "physical id":
			physical = v
			sockets[v] = true
		case "core id":
			if physical != "" {
				cores[[2]string{physical, v}] = true
			}
		}
	}
	if n > 0 {
		c.MHz = Decimal{sum / float64(n), true}
	}
	if len(cores) > 0 {
		c.Cores = Count{uint64(len(cores)), true}
	}
	if len(sockets) > 0 {
		c.Sockets = Count{uint64(len(sockets)), true}
	}
	return c
}
