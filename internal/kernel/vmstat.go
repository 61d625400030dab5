package kernel

import "bytes"

// Vmstat is /proc/vmstat: paging in kB, swapping in pages.
type Vmstat struct {
	Pgpgin, Pgpgout, Pswpin, Pswpout, OOMKill Count
}

// ParseVmstat reads /proc/vmstat. Its last line counts only when complete.
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
