package procinfo

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/internal/kernel"
)

// The functions in this file convert the values of other systems than Linux. They are pure.

// microseconds converts a CPU time in seconds to a counter in microseconds.
func microseconds(seconds float64) kernel.Count {
	us := math.Round(seconds * 1e6)
	if !(us >= 0 && us < 1<<63) {
		return kernel.Count{}
	}
	return kernel.Known(uint64(us))
}

// fellBack reports whether the sum of the CPU times decreased, as it does when a kernel's
// counters of 32 bits overflow. setCPU handles a single counter that decreases.
func fellBack(old, now [kernel.CPUColumns]kernel.Count) bool {
	was, is := 0., 0.
	for i := range now {
		if old[i].OK && now[i].OK {
			was, is = was+float64(old[i].N), is+float64(now[i].N)
		}
	}
	return is < was
}

// inKiB converts bytes to KiB, the unit of kernel.Meminfo.
func inKiB(bytes uint64) kernel.Count { return kernel.Known(bytes / 1024) }

// setUsed sets the used memory on a system that does not report the page cache: the part
// of the total that is not available to new programs.
func (s *System) setUsed(i kernel.Meminfo) {
	if i.Total.OK && i.Available.OK {
		used := max(0, float64(i.Total.N)-float64(i.Available.N))
		s.Memory.Used = Known(used / 1024)
		s.Memory.Usage = Percent(used, float64(i.Total.N))
	}
}

// knownUptime returns the time since boot in seconds. It is unknown if the wall clock is
// before the boot.
func knownUptime(seconds uint64) Value {
	if seconds > math.MaxInt64 {
		return Value{}
	}
	return Known(float64(seconds))
}

// tcpState returns Linux's number of the TCP state with this name in Windows.
func tcpState(name string) uint64 {
	switch name {
	case "SYN_RECEIVED":
		name = "SYN_RECV"
	case "FIN_WAIT_1":
		name = "FIN_WAIT1"
	case "FIN_WAIT_2":
		name = "FIN_WAIT2"
	}
	for i, n := range kernel.TCPStateNames {
		if n == name {
			return uint64(i)
		}
	}
	return 0
}

// firstAddresses returns the first IPv4 address of an interface, and its first global IPv6
// address, a public one before a unique local one.
func firstAddresses(name string, all []netip.Addr) Address {
	a := Address{Interface: name}
	local := ""
	for _, ip := range all {
		ip = ip.Unmap().WithZone("")
		switch {
		case ip.Is4():
			if a.IPv4 == "" {
				a.IPv4 = ip.String()
			}
		case !ip.IsGlobalUnicast():
		case ip.IsPrivate():
			if local == "" {
				local = ip.String()
			}
		case a.IPv6 == "":
			a.IPv6 = ip.String()
		}
	}
	if a.IPv6 == "" {
		a.IPv6 = local
	}
	return a
}

// knownSMT returns 1 if there are more logical CPUs than cores, otherwise 0.
func knownSMT(logical, cores Value) Value {
	switch {
	case !logical.OK || !cores.OK || cores.V <= 0:
		return Value{}
	case logical.V > cores.V:
		return Known(1)
	}
	return Known(0)
}

// positive returns v as a known value if it is positive.
func positive(v float64) Value {
	if v <= 0 {
		return Value{}
	}
	return Known(v)
}

// decimalID returns a CPU's family or model in decimal, as Linux does. s may be hexadecimal
// with 0x. The result is empty for 0, and if s is no number.
func decimalID(s string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 0, 32)
	if err != nil || n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// parseIdentifier returns family and model from a processor's identifier in the registry
// of Windows, such as "Intel64 Family 6 Model 158 Stepping 10".
func parseIdentifier(s string) (family, model string) {
	f := strings.Fields(s)
	for i := 0; i+1 < len(f); i++ {
		switch f[i] {
		case "Family":
			family = f[i+1]
		case "Model":
			model = f[i+1]
		}
	}
	return family, model
}
