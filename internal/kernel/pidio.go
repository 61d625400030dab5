package kernel

import "bytes"

// PIDIO holds fields of /proc/PID/io, in bytes. They include the children that the process
// waited for.
type PIDIO struct {
	RChar, WChar  Count // by read(2), write(2) and similar system calls
	Read, Written Count // from and to storage
}

// ParsePIDIO parses /proc/PID/io. An incomplete last line is ignored.
//
// See proc_pid_io(5).
func ParsePIDIO(b []byte) (p PIDIO) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
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
