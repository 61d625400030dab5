package kernel

// ParseRoute reads /proc/net/route and calls visit for the interface of each
// default route.
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

// ParseIPv6Route does the same for /proc/net/ipv6_route.
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
