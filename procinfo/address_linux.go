package procinfo

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// interfaceIPv4 returns the first IPv4 address of a network interface, or an empty string
// if it has none. See SIOCGIFADDR in netdevice(7).
func interfaceIPv4(name string) string {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return ""
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	if unix.IoctlIfreq(fd, unix.SIOCGIFADDR, request) != nil {
		return ""
	}
	ip, err := request.Inet4Addr()
	if err != nil {
		return ""
	}
	return netip.AddrFrom4([4]byte(ip)).String()
}
