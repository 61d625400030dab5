//go:build !linux

package receiver

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
)

// manySockets: datagrams to one port are not spread over several sockets.
const manySockets = false

func sharePort(syscall.RawConn) error { return errors.ErrUnsupported }

// growBuffer requests a receive buffer of that size, or of the largest size that the
// kernel permits, and returns the size.
func growBuffer(conn *net.UDPConn, _ syscall.RawConn, bytes int) int {
	for ; bytes >= 64<<10; bytes /= 2 {
		if conn.SetReadBuffer(bytes) == nil {
			return bytes
		}
	}
	return 0
}

// memory is not known on this system.
func memory(syscall.RawConn) (held, drops uint32, ok bool) { return 0, 0, false }

// newReader returns a function that waits for a datagram. It is valid until the next call.
func newReader(conn *net.UDPConn, _ syscall.RawConn) func() ([]queue.Item, error) {
	buffer := make([]byte, maxDatagram)
	items := make([]queue.Item, 1)
	return func() ([]queue.Item, error) {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		items[0] = queue.Item{From: from, At: time.Now(), Data: buffer[:n]}
		return items, nil
	}
}
