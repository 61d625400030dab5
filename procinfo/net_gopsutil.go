//go:build darwin || windows || (freebsd && (386 || amd64 || arm || arm64))

package procinfo

import (
	"errors"
	"net"
	"net/netip"

	"github.com/apmon-go/apmon/internal/kernel"
)

// errNothing is returned if gopsutil returns neither a value nor an error.
var errNothing = errors.New("the system returned no value")

// traffic is the counters of one network interface.
type traffic struct {
	name     string
	counters kernel.NetCounters
}

// diskCounters are the bytes that a disk read and wrote.
type diskCounters struct{ read, written uint64 }

// counts reports whether the traffic of an interface counts. The system does not report
// which interfaces are physical; these are up and have a hardware address.
func counts(i net.Interface) bool {
	return i.Flags&net.FlagUp != 0 && i.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0 && len(i.HardwareAddr) > 0
}

// readAddresses reads the addresses of the interfaces whose traffic counts.
func readAddresses(g *General) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	var bad error
	left := MaxInterfaces
	for _, i := range all {
		if !counts(i) {
			continue
		}
		if left--; left < 0 {
			break
		}
		addrs, err := i.Addrs()
		if err != nil {
			bad = err
			continue
		}
		var ips []netip.Addr
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					ips = append(ips, ip)
				}
			}
		}
		if a := firstAddresses(i.Name, ips); a.IPv4 != "" || a.IPv6 != "" {
			g.Addresses = append(g.Addresses, a)
		}
	}
	return bad
}
