package kernel

import "bytes"

// NetCounters holds counters of a network interface, since it was created.
type NetCounters struct {
	In, Out, Errs         Count // bytes received, bytes sent, errors in both directions
	InPackets, OutPackets Count
}

// ParseNetDev parses /proc/net/dev. It calls visit for each interface.
//
// See proc_pid_net(5).
func ParseNetDev(b []byte, visit func(name []byte, c NetCounters)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		// The name of an alias contains a colon, too.
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		name := bytes.TrimSpace(line[:i])
		if len(name) == 0 {
			continue
		}
		var f [11]Count
		line = line[i+1:]
		for i := range f {
			f[i], line = NextUint(line)
		}
		if !f[0].OK {
			continue // a heading
		}
		visit(name, NetCounters{In: f[0], Out: f[8], Errs: f[2].Add(f[10]), InPackets: f[1], OutPackets: f[9]})
	}
}
