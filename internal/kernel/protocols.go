package kernel

// Protocols holds numbers of sockets of /proc/net/protocols.
type Protocols struct {
	Unix, ICMP Count
}

// ParseProtocols parses /proc/net/protocols.
//
// See proto_seq_printf in net/core/sock.c of the kernel.
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
