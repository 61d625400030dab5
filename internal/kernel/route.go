package kernel

// ParseRoute parses /proc/net/route. It calls visit with the interface of each default
// route.
//
// See fib_route_seq_show in net/ipv4/fib_trie.c of the kernel; the flags are RTF_* of
// linux/route.h.
func ParseRoute(b []byte, visit func(name []byte)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		name, line := NextField(line)
		dest, line := NextField(line)
		line = SkipFields(line, 1)
		flags, line := NextField(line)
		mask, _ := NextField(SkipFields(line, 3))
		const up, reject = 0x1, 0x200
		if f := ParseHex(flags); string(dest) == "00000000" && string(mask) == "00000000" && f.OK && f.N&(up|reject) == up {
			visit(name)
		}
	}
}

// ParseIPv6Route parses /proc/net/ipv6_route, as [ParseRoute] does for IPv4.
//
// See ipv6_route_native_seq_show in net/ipv6/ip6_fib.c of the kernel.
func ParseIPv6Route(b []byte, visit func(name []byte)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		dest, line := NextField(line)
		bits, line := NextField(line)
		flags, line := NextField(SkipFields(line, 6))
		name, _ := NextField(line)
		const up, reject = 0x1, 0x200
		if f := ParseHex(flags); string(dest) == "00000000000000000000000000000000" && string(bits) == "00" &&
			f.OK && f.N&(up|reject) == up && len(name) > 0 {
			visit(name)
		}
	}
}
