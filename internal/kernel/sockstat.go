package kernel

// ParseSockstat parses /proc/net/sockstat or /proc/net/sockstat6. It returns the number of
// UDP sockets.
//
// See sockstat_seq_show in net/ipv4/proc.c of the kernel.
func ParseSockstat(b []byte) (udp Count) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, line := NextField(line)
		if string(key) != "UDP:" && string(key) != "UDP6:" {
			continue
		}
		for {
			var k []byte
			if k, line = NextField(line); len(k) == 0 {
				break
			}
			var c Count
			if c, line = NextUint(line); string(k) == "inuse" {
				udp = c
			}
		}
	}
	return udp
}
