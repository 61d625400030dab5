package procinfo

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/internal/kernel"
)

// What other systems than Linux tell, in the terms of this package. All of it
// is pure.

// microseconds turns a CPU time in seconds into a counter of microseconds.
func microseconds(seconds float64) kernel.Count {
	us := math.Round(seconds * 1e6)
	if !(us >= 0 && us < 1<<63) {
		return kernel.Count{}
	}
	return kernel.Known(uint64(us))
}

// fellBack reports whether the CPU times together went down, as they do where
// the kernel's counters have 32 bits. A single one that does so is for setCPU.
func fellBack(old, now [kernel.CPUColumns]kernel.Count) bool {
	was, is := 0., 0.
	for i := range now {
		if old[i].OK && now[i].OK {
			was, is = was+float64(old[i].N), is+float64(now[i].N)
		}
	}
	return is < was
}

// inKiB turns bytes into the unit of meminfo.
func inKiB(bytes uint64) kernel.Count { return kernel.Known(bytes / 1024) }

// setUsed sets what is used where the page cache is not told apart: what new
// programs could not have.
func (s *System) setUsed(i kernel.Meminfo) {
	if i.Total.OK && i.Available.OK {
		used := max(0, float64(i.Total.N)-float64(i.Available.N))
		s.Memory.Used = Known(used / 1024)
		s.Memory.Usage = Percent(used, float64(i.Total.N))
	}
}

// uptime returns what a wall clock says; one that is before the boot says
// nothing.
func uptime(seconds uint64) Value {
	if seconds > math.MaxInt64 {
		return Value{}
	}
	return Known(float64(seconds))
}

// tcpState returns the kernel's number of the state that Windows calls so.
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

// firstAddresses returns those of an interface: the first IPv4 one, and the
// first global IPv6 one, public before unique local.
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

// smt returns 1 where there are more logical CPUs than cores, else 0.
func smt(logical, cores Value) Value {
	switch {
	case !logical.OK || !cores.OK || cores.V <= 0:
		return Value{}
	case logical.V > cores.V:
		return Known(1)
	}
	return Known(0)
}

// positive returns a number that is 0 where it is unknown.
func positive(v float64) Value {
	if v <= 0 {
		return Value{}
	}
	return Known(v)
}

// decimalID returns a CPU's family or model, which may be hexadecimal with 0x,
// as Linux writes it. What is 0, or no number, is unknown.
func decimalID(s string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 0, 32)
	if err != nil || n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// parseIdentifier returns the family and model of a processor's identifier in
// the registry of Windows, such as "Intel64 Family 6 Model 158 Stepping 10".
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
