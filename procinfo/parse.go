package procinfo

import (
	"bytes"
)

// Parsers of the kernel's files. They are pure, never panic, skip what they do
// not know, and leave unknown what is not there, so that a truncated or empty
// file, or a newer kernel's, harms nothing.
// See https://docs.kernel.org/filesystems/proc.html.

// nextLine cuts off the first line, without its end.
func nextLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// nextField cuts off the first field; it is empty at the end.
func nextField(b []byte) (field, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\t' && b[j] != '\n' {
		j++
	}
	return b[i:j], b[j:]
}

// skipFields cuts off n fields.
func skipFields(b []byte, n int) []byte {
	for ; n > 0; n-- {
		_, b = nextField(b)
	}
	return b
}

// parseUint reads a decimal number that fills b.
func parseUint(b []byte) (c count) {
	if len(b) == 0 {
		return count{}
	}
	for _, d := range b {
		if d -= '0'; d > 9 || c.n > (1<<64-1-uint64(d))/10 {
			return count{}
		} else {
			c.n = c.n*10 + uint64(d)
		}
	}
	c.ok = true
	return c
}

// nextUint reads the first field as a number.
func nextUint(b []byte) (count, []byte) {
	f, rest := nextField(b)
	return parseUint(f), rest
}

// parseHex reads a hexadecimal number that fills b.
func parseHex(b []byte) (c count) {
	if len(b) == 0 || len(b) > 16 {
		return count{}
	}
	for _, d := range b {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return count{}
		}
		c.n = c.n<<4 | uint64(d)
	}
	c.ok = true
	return c
}

var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// parseDecimal reads digits with at most nine behind the point, rounded
// correctly below 2^53.
func parseDecimal(b []byte) Value {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	w := parseUint(whole)
	if !w.ok {
		return Value{}
	}
	if len(frac) == 0 {
		return w.value()
	}
	f := parseUint(frac)
	if !f.ok || len(frac) >= len(pow10) {
		return Value{}
	}
	p := pow10[len(frac)]
	if w.n < 1<<52/uint64(p) {
		return Known(float64(w.n*uint64(p)+f.n) / p)
	}
	return Known(float64(w.n) + float64(f.n)/p)
}

// parseLoadavg reads /proc/loadavg.
func parseLoadavg(b []byte) (load [3]Value) {
	for i := range load {
		var f []byte
		f, b = nextField(b)
		load[i] = parseDecimal(f)
	}
	return load
}

// parseUptime reads /proc/uptime: seconds.
func parseUptime(b []byte) Value {
	f, _ := nextField(b)
	return parseDecimal(f)
}

// The columns of /proc/stat's line "cpu".
const (
	cpuUser = iota
	cpuNice
	cpuSystem
	cpuIdle
	cpuIOWait
	cpuIRQ
	cpuSoftIRQ
	cpuSteal
	cpuGuest
	cpuGuestNice
	cpuColumns
)

// stat is what /proc/stat tells of the whole machine.
type stat struct {
	cpu        [cpuColumns]count // clock ticks
	intr, ctxt count
}

// parseStat reads /proc/stat.
func parseStat(b []byte) (s stat) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		// Most lines are those of single CPUs.
		if len(line) < 5 || line[0] == 'c' && line[1] == 'p' && line[3] != ' ' {
			continue
		}
		key, line := nextField(line)
		switch string(key) {
		case "cpu":
			for i := range s.cpu {
				s.cpu[i], line = nextUint(line)
			}
		case "intr":
			s.intr, _ = nextUint(line)
		case "ctxt":
			s.ctxt, _ = nextUint(line)
		}
	}
	return s
}

// meminfo is /proc/meminfo, in kB.
type meminfo struct {
	total, free, available, buffers, cached, shmem, swapTotal, swapFree count
}

// parseMeminfo reads /proc/meminfo.
func parseMeminfo(b []byte) (m meminfo) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, line, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		var to *count
		switch string(key) {
		case "MemTotal":
			to = &m.total
		case "MemFree":
			to = &m.free
		case "MemAvailable":
			to = &m.available
		case "Buffers":
			to = &m.buffers
		case "Cached":
			to = &m.cached
		case "Shmem":
			to = &m.shmem
		case "SwapTotal":
			to = &m.swapTotal
		case "SwapFree":
			to = &m.swapFree
		default:
			continue
		}
		c, line := nextUint(line)
		// A number without its unit may be half a number.
		if unit, _ := nextField(line); string(unit) == "kB" {
			*to = c
		}
	}
	return m
}

// vmstat is /proc/vmstat: paging in kB, swapping in pages.
type vmstat struct {
	pgpgin, pgpgout, pswpin, pswpout, oomKill count
}

// parseVmstat reads /proc/vmstat. Its last line counts only when complete.
func parseVmstat(b []byte) (v vmstat) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return v
		}
		line := b[:i]
		b = b[i+1:]
		if len(line) < 8 || line[0] != 'p' && line[0] != 'o' {
			continue
		}
		key, line := nextField(line)
		var to *count
		switch string(key) {
		case "pgpgin":
			to = &v.pgpgin
		case "pgpgout":
			to = &v.pgpgout
		case "pswpin":
			to = &v.pswpin
		case "pswpout":
			to = &v.pswpout
		case "oom_kill":
			to = &v.oomKill
		default:
			continue
		}
		*to, _ = nextUint(line)
	}
}

// parsePressure reads a file of /proc/pressure: avg60 of its lines some and
// full. See https://docs.kernel.org/accounting/psi.html.
func parsePressure(b []byte) (some, full Value) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, line := nextField(line)
		var v Value
		for {
			var f []byte
			f, line = nextField(line)
			if len(f) == 0 {
				break
			}
			if s, ok := bytes.CutPrefix(f, []byte("avg60=")); ok {
				v = parseDecimal(s)
			}
		}
		switch string(key) {
		case "some":
			some = v
		case "full":
			full = v
		}
	}
	return some, full
}

// netCounters are one interface's of /proc/net/dev.
type netCounters struct {
	in, out, errs count // bytes, bytes, errors of both directions
}

// parseNetDev reads /proc/net/dev and calls visit for each interface.
func parseNetDev(b []byte, visit func(name []byte, c netCounters)) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		// A name may hold a colon (an alias), a number not.
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		name := bytes.TrimSpace(line[:i])
		if len(name) == 0 {
			continue
		}
		var f [11]count
		line = line[i+1:]
		for i := range f {
			f[i], line = nextUint(line)
		}
		if !f[0].ok {
			continue // a heading
		}
		visit(name, netCounters{in: f[0], out: f[8], errs: f[2].add(f[10])})
	}
}

// parseRoute reads /proc/net/route and calls visit for the interface of each
// default route.
func parseRoute(b []byte, visit func(name []byte)) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		name, line := nextField(line)
		dest, line := nextField(line)
		line = skipFields(line, 1)
		flags, line := nextField(line)
		mask, _ := nextField(skipFields(line, 3))
		const up, reject = 0x1, 0x200
		if f := parseHex(flags); string(dest) == "00000000" && string(mask) == "00000000" && f.ok && f.n&(up|reject) == up {
			visit(name)
		}
	}
}

// parseIPv6Route does the same for /proc/net/ipv6_route.
func parseIPv6Route(b []byte, visit func(name []byte)) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		dest, line := nextField(line)
		bits, line := nextField(line)
		flags, line := nextField(skipFields(line, 6))
		name, _ := nextField(line)
		const up, reject = 0x1, 0x200
		if f := parseHex(flags); string(dest) == "00000000000000000000000000000000" && string(bits) == "00" &&
			f.ok && f.n&(up|reject) == up && len(name) > 0 {
			visit(name)
		}
	}
}

// parseDiskstats reads /proc/diskstats and calls visit for each block device
// with the sectors (of 512 bytes) it read and wrote.
func parseDiskstats(b []byte, visit func(name []byte, read, written count)) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		name, line := nextField(skipFields(line, 2))
		read, line := nextUint(skipFields(line, 2))
		written, _ := nextUint(skipFields(line, 3))
		if len(name) > 0 {
			visit(name, read, written)
		}
	}
}

// parseSockstat reads /proc/net/sockstat or sockstat6: the UDP sockets.
func parseSockstat(b []byte) (udp count) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, line := nextField(line)
		if string(key) != "UDP:" && string(key) != "UDP6:" {
			continue
		}
		for {
			var k []byte
			if k, line = nextField(line); len(k) == 0 {
				break
			}
			var c count
			if c, line = nextUint(line); string(k) == "inuse" {
				udp = c
			}
		}
	}
	return udp
}

// protocols is what /proc/net/protocols tells of sockets without a file of
// their own that is cheap to read.
type protocols struct {
	unix, icmp count
}

// parseProtocols reads /proc/net/protocols.
func parseProtocols(b []byte) (p protocols) {
	plus := func(to *count, c count) {
		if c.ok {
			to.n += c.n
			to.ok = true
		}
	}
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, line := nextField(line)
		c, _ := nextUint(skipFields(line, 1))
		switch string(key) {
		case "UNIX", "UNIX-STREAM":
			plus(&p.unix, c)
		case "PING", "PINGv6":
			plus(&p.icmp, c)
		}
	}
	return p
}

// parseNetUnix counts the sockets of /proc/net/unix.
func parseNetUnix(b []byte) count {
	n := uint64(bytes.Count(b, []byte{'\n'}))
	if n == 0 {
		return count{}
	}
	return count{n - 1, true} // without its heading
}

// parseNetTCP adds the states of the sockets in /proc/net/tcp or tcp6.
func parseNetTCP(b []byte, states *tcpStates) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		st, _ := nextField(skipFields(line, 3))
		if c := parseHex(st); c.ok {
			states.add(c.n)
		}
	}
}

// tcpStates are numbers of sockets by the kernel's state; 0 is any other.
type tcpStates [12]uint64

// tcpStateNames are the names of the states as they are sent.
var tcpStateNames = [...]string{"UNKNOWN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
	"TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

// add counts one socket.
func (s *tcpStates) add(state uint64) {
	switch {
	case state < uint64(len(s)):
		s[state]++
	case state == 12: // a request socket, called NEW_SYN_RECV inside the kernel
		s[3]++
	default:
		s[0]++
	}
}

// parseProcState reads the state of a process from /proc/PID/stat, 0 where it
// is cut short. The name before it may hold anything, even ") R".
func parseProcState(b []byte) byte {
	if i := bytes.LastIndexByte(b, ')'); i >= 0 && i+2 < len(b) && b[i+1] == ' ' {
		return b[i+2]
	}
	return 0
}

// parseCPUList counts the CPUs of a list such as "0-3,8".
func parseCPUList(b []byte) count {
	b = bytes.TrimSpace(b)
	var n count
	for len(b) > 0 {
		var part []byte
		part, b, _ = bytes.Cut(b, []byte{','})
		lo, hi, isRange := bytes.Cut(part, []byte{'-'})
		first, last := parseUint(lo), parseUint(hi)
		if !isRange {
			last = first
		}
		if !first.ok || !last.ok || last.n < first.n || last.n > 1<<20 {
			return count{}
		}
		n.n += last.n - first.n + 1
		n.ok = true
	}
	return n
}
