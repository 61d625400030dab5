package apmon

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// dialUDP makes a socket that is not registered with the runtime's poller. With a
// registered socket, each datagram sent wakes the thread that waits in epoll (every
// program with a timer has one), which costs half as much as the write.
func dialUDP(addr netip.AddrPort) (*socket, error) {
	domain, sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, sa); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	s := &socket{fd: fd}
	runtime.SetFinalizer(s, (*socket).close) // for clients that are never closed
	return s, nil
}

func sockaddr(addr netip.AddrPort) (domain int, sa syscall.Sockaddr, err error) {
	ip := addr.Addr()
	if ip.Is4() || ip.Is4In6() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: ip.Unmap().As4()}, nil
	}
	sa6 := &syscall.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			sa6.ZoneId = uint32(n)
		} else if i, err := net.InterfaceByName(zone); err == nil {
			sa6.ZoneId = uint32(i.Index)
		} else {
			return 0, nil, err
		}
	}
	return syscall.AF_INET6, sa6, nil
}

func closeRaw(s *socket) {
	runtime.SetFinalizer(s, nil)
	if s.fd >= 0 {
		syscall.Close(s.fd)
		s.fd = -1
	}
}
