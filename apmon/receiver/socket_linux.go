package receiver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/queue"
)

// manySockets: several sockets can share one port.
const manySockets = true

// batch is the most datagrams that are read with one system call.
const batch = 32

// sharePort lets other sockets of this user bind the port of the socket, if they request
// it, too.
func sharePort(raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	if err != nil {
		return err
	}
	return failed
}

// growBuffer requests a receive buffer of that size and returns the size that the kernel
// reports: twice as much, since Linux includes its own bookkeeping (about 700 bytes for
// even the smallest datagram).
func growBuffer(_ *net.UDPConn, raw syscall.RawConn, bytes int) int {
	got := 0
	_ = raw.Control(func(fd uintptr) {
		// Only root can exceed net.core.rmem_max; others get that much without an
		// error.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		}
		got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return got
}

// memory returns the bytes that the kernel holds for the socket, and the number of
// datagrams that it has dropped because the receive buffer was full, modulo 2^32. It
// returns false if the socket is closed, or the kernel is older than 4.12.
func memory(raw syscall.RawConn) (held, drops uint32, ok bool) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	err := raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size == uint32(unsafe.Sizeof(info))
	})
	return info[unix.SK_MEMINFO_RMEM_ALLOC], info[unix.SK_MEMINFO_DROPS], ok && err == nil
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32
}

// reader reads batches of datagrams into a buffer of its own.
type reader struct {
	raw      syscall.RawConn
	receive  func(fd uintptr) bool // r.recvmmsg
	messages [batch]message
	vectors  [batch]unix.Iovec
	names    [batch][unix.SizeofSockaddrInet6]byte
	buffer   []byte // maxDatagram bytes for each message
	items    [batch]queue.Item
	zones    map[uint32]string // names of network interfaces

	n     int // the result of recvmmsg
	errno syscall.Errno
}

// newReader returns a function that waits for datagrams and returns those that are there,
// at most batch. They are valid until the next call. It allocates nothing.
func newReader(_ *net.UDPConn, raw syscall.RawConn) func() ([]queue.Item, error) {
	r := &reader{raw: raw, buffer: make([]byte, batch*maxDatagram)}
	r.receive = r.recvmmsg
	for i := range r.messages {
		r.vectors[i].Base = &r.buffer[i*maxDatagram]
		r.vectors[i].SetLen(maxDatagram)
		h := &r.messages[i].header
		h.Name = &r.names[i][0]
		h.Namelen = uint32(len(r.names[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
	}
	return r.read
}

func (r *reader) read() ([]queue.Item, error) {
	if err := r.raw.Read(r.receive); err != nil {
		return nil, err
	}
	if r.errno != 0 {
		return nil, os.NewSyscallError("recvmmsg", r.errno)
	}
	now := time.Now()
	for i := range r.n {
		m := &r.messages[i]
		start := i * maxDatagram
		r.items[i] = queue.Item{
			From: r.addr(r.names[i][:m.header.Namelen]),
			At:   now,
			Data: r.buffer[start : start+int(m.length)],
		}
		m.header.Namelen = uint32(len(r.names[i])) // the kernel overwrites it
	}
	return r.items[:r.n], nil
}

// recvmmsg reads once. It returns false if it has to wait.
func (r *reader) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages)), batch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			r.n, r.errno = int(n), errno
			return true
		}
	}
}

// addr decodes a struct sockaddr_in or sockaddr_in6.
func (r *reader) addr(name []byte) netip.AddrPort {
	if len(name) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(name[2:])
	if binary.NativeEndian.Uint16(name) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:])), port)
	}
	if len(name) < unix.SizeofSockaddrInet6 {
		return netip.AddrPort{}
	}
	a := netip.AddrFrom16([16]byte(name[8:])).Unmap()
	if scope := binary.NativeEndian.Uint32(name[24:]); scope != 0 && a.Is6() {
		a = a.WithZone(r.zone(scope))
	}
	return netip.AddrPortFrom(a, port)
}

// zone returns the name of a network interface: link-local addresses of two networks may
// be equal. There are few of them.
func (r *reader) zone(index uint32) string {
	if z, ok := r.zones[index]; ok {
		return z
	}
	z := strconv.Itoa(int(index))
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		z = i.Name
	}
	if r.zones == nil {
		r.zones = make(map[uint32]string)
	}
	r.zones[index] = z
	return z
}
