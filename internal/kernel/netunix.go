package kernel

import "bytes"

// ParseNetUnix parses /proc/net/unix. It returns the number of Unix sockets.
//
// See proc_pid_net(5).
func ParseNetUnix(b []byte) Count {
	n := uint64(bytes.Count(b, []byte{'\n'}))
	if n == 0 {
		return Count{}
	}
	return Count{n - 1, true} // without the heading
}
