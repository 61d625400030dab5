package kernel

import "bytes"

// Vmstat holds counters of /proc/vmstat, since boot.
type Vmstat struct {
	Pgpgin, Pgpgout Count // KiB read from and written to block devices
	Pswpin, Pswpout Count // pages read from and written to swap
	OOMKill         Count // processes killed because memory was short
}

// ParseVmstat parses /proc/vmstat. An incomplete last line is ignored.
//
// See proc_vmstat(5).
func ParseVmstat(b []byte) (v Vmstat) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return v
		}
		line := b[:i]
		b = b[i+1:]
		if len(line) < 8 || line[0] != 'p' && line[0] != 'o' {
			continue
		}
		key, line := NextField(line)
		var to *Count
		switch string(key) {
		case "pgpgin":
			to = &v.Pgpgin
		case "pgpgout":
			to = &v.Pgpgout
		case "pswpin":
			to = &v.Pswpin
		case "pswpout":
			to = &v.Pswpout
		case "oom_kill":
			to = &v.OOMKill
		default:
			continue
		}
		*to, _ = NextUint(line)
	}
}
