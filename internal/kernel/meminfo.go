package kernel

import "bytes"

// Meminfo holds fields of /proc/meminfo, in KiB.
type Meminfo struct {
	Total, Free, Available, Buffers, Cached, Shmem, SwapTotal, SwapFree Count
}

// ParseMeminfo parses /proc/meminfo. A line without its unit is ignored, as its number may
// be incomplete.
//
// See proc_meminfo(5) and https://docs.kernel.org/filesystems/proc.html#meminfo.
func ParseMeminfo(b []byte) (m Meminfo) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, line, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		var to *Count
		switch string(key) {
		case "MemTotal":
			to = &m.Total
		case "MemFree":
			to = &m.Free
		case "MemAvailable":
			to = &m.Available
		case "Buffers":
			to = &m.Buffers
		case "Cached":
			to = &m.Cached
		case "Shmem":
			to = &m.Shmem
		case "SwapTotal":
			to = &m.SwapTotal
		case "SwapFree":
			to = &m.SwapFree
		default:
			continue
		}
		c, line := NextUint(line)
		if unit, _ := NextField(line); string(unit) == "kB" {
			*to = c
		}
	}
	return m
}
