package kernel

// Protocols is what /proc/net/protocols tells of sockets without a file of
// their own that is cheap to read.
type Protocols struct {
	Unix, ICMP Count
}

// ParseProtocols reads /proc/net/protocols.
func ParseProtocols(b []byte) (p Protocols) {
	plus := func(to *Count, c Count) {
		if c.OK {
			to.N += c.N
			to.OK = true
		}
	}
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, line := NextField(line)
		c, _ := NextUint(SkipFields(line, 1))
		switch string(key) {
		case "UNIX", "UNIX-STREAM":
			plus(&p.Unix, c)
		case "PING", "PINGv6":
			plus(&p.ICMP, c)
		}
	}
	return p
}
