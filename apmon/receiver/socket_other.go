//go:build !linux

package receiver

import "net"

// growBuffer requests a receive buffer of that size, or of the largest size that the
// kernel permits, and returns the size.
func growBuffer(conn *net.UDPConn, bytes int) int {
	for ; bytes >= 64<<10; bytes /= 2 {
		if conn.SetReadBuffer(bytes) == nil {
			return bytes
		}
	}
	return 0
}

func socketID(*net.UDPConn) uint64 { return 0 }

// kernelDrops is not known on this system.
func kernelDrops(uint64) (uint64, bool) { return 0, false }
