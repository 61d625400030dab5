package kernel

import "bytes"

// ParseNetUnix counts the sockets of /proc/net/unix.
func ParseNetUnix(b []byte) Count {
	n := uint64(bytes.Count(b, []byte{'\n'}))
	if n == 0 {
		return Count{}
	}
	return Count{n - 1, true} // without its heading
}
