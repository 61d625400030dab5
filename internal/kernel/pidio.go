package kernel

import "bytes"

// PIDIO is /proc/PID/io: bytes, of the process and the children it waited for.
type PIDIO struct {
	RChar, WChar, Read, Written Count
}

// ParsePIDIO reads /proc/PID/io.
func ParsePIDIO(b []byte) (p PIDIO) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break // half a line
		}
		key, value := NextField(b[:i])
		b = b[i+1:]
		var to *Count
		switch string(key) {
		case "rchar:":
			to = &p.RChar
		case "wchar:":
			to = &p.WChar
		case "read_bytes:":
			to = &p.Read
		case "write_bytes:":
			to = &p.Written
		default:
			continue
		}
		*to, _ = NextUint(value)
	}
	return p
}
