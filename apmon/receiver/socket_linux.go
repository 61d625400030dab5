package receiver

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// growBuffer requests a receive buffer of that size and returns the size that the kernel
// reports: twice as much, since Linux includes its own bookkeeping (about 700 bytes for
// even the smallest datagram).
func growBuffer(conn *net.UDPConn, bytes int) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	got := 0
	_ = raw.Control(func(fd uintptr) {
		// Only root can exceed net.core.rmem_max; others get that much without an
		// error.
		if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, bytes) != nil {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
		}
		got, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	})
	return got
}

// socketID returns the inode that identifies the socket in /proc/net/udp, 0 if it is
// unknown.
func socketID(conn *net.UDPConn) uint64 {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var st syscall.Stat_t
	_ = raw.Control(func(fd uintptr) {
		if syscall.Fstat(int(fd), &st) != nil {
			st.Ino = 0
		}
	})
	return st.Ino
}

// kernelDrops returns the number of datagrams that the kernel has dropped because the
// receive buffer was full.
//
// The socket option with this number is not available to the standard library on every
// architecture.
func kernelDrops(id uint64) (uint64, bool) {
	if id == 0 {
		return 0, false
	}
	for _, name := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, ok := parseDrops(string(b), id); ok {
			return n, true
		}
	}
	return 0, false
}

// parseDrops finds the socket with an inode in the text of /proc/net/udp and
// returns its last column.
func parseDrops(text string, inode uint64) (uint64, bool) {
	want := strconv.FormatUint(inode, 10)
	for line := range strings.Lines(text) {
		// sl local remote st queues timer retransmits uid timeout inode ref
		// pointer drops
		f := strings.Fields(line)
		if len(f) != 13 || f[9] != want {
			continue
		}
		n, err := strconv.ParseUint(f[12], 10, 64)
		return n, err == nil
	}
	return 0, false
}
