package kernel

import "bytes"

// NetCounters are one interface's of /proc/net/dev.
type NetCounters struct {
	In, Out, Errs Count // bytes, bytes, errors of both directions
}

// ParseNetDev reads /proc/net/dev and calls visit for each interface.
func ParseNetDev(b []byte, visit func(name []byte, c NetCounters)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		// A name may hold a colon (an alias), a number not.
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
		visit(name, NetCounters{In: f[0], Out: f[8], Errs: f[2].Add(f[10])})
	}
}
