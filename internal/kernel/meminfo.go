package kernel

import "bytes"

// Meminfo is /proc/meminfo, in kB.
type Meminfo struct {
	Total, Free, Available, Buffers, Cached, Shmem, SwapTotal, SwapFree Count
}

// ParseMeminfo reads /proc/meminfo.
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
		// A number without its unit may be half a number.
		if unit, _ := NextField(line); string(unit) == "kB" {
			*to = c
		}
	}
	return m
}
