package procinfo

import "bytes"

// procStat is what /proc/PID/stat tells of a process. See proc_pid_stat(5).
type procStat struct {
	state                            byte
	ppid, session                    int
	threads                          uint64
	start                            uint64 // clock ticks since boot
	utime, stime, cutime, cstime     uint64 // clock ticks; c: of children that were waited for
	minflt, cminflt, majflt, cmajflt uint64
	vsize                            uint64 // bytes
	rss                              uint64 // pages
}

// parseProcStat reads /proc/PID/stat. It is all or nothing: half a line may end
// in half a number. The name in it may hold anything, even ") R 1 (".
func parseProcStat(b []byte) (s procStat, ok bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+3 >= len(b) || b[i+1] != ' ' {
		return procStat{}, false
	}
	s.state = b[i+2]
	b = b[i+3:]
	// The fields from the 4th to the one behind the last that is read, which
	// shows that the last is whole.
	var f [26]uint64
	for n := 4; n <= 25; n++ {
		var field []byte
		if field, b = nextField(b); len(field) == 0 {
			return procStat{}, false
		}
		switch n {
		case 5, 7, 8, 9, 18, 19, 21, 25: // not read; some are negative
			continue
		}
		c := parseUint(field)
		if !c.ok || c.n > 1<<53 && n != 23 {
			return procStat{}, false
		}
		f[n] = c.n
	}
	const maxPID = 1 << 30
	if f[4] > maxPID || f[6] > maxPID {
		return procStat{}, false
	}
	s.ppid, s.session = int(f[4]), int(f[6])
	s.minflt, s.cminflt, s.majflt, s.cmajflt = f[10], f[11], f[12], f[13]
	s.utime, s.stime, s.cutime, s.cstime = f[14], f[15], f[16], f[17]
	s.threads, s.start, s.vsize, s.rss = f[20], f[22], f[23], f[24]
	return s, true
}

// dead reports whether the process has ended and waits to be reaped. Where only
// its first thread has, it lives.
func (s *procStat) dead() bool { return (s.state == 'Z' || s.state == 'X') && s.threads <= 1 }

// procIO is /proc/PID/io: bytes, of the process and the children it waited for.
type procIO struct {
	rchar, wchar, read, written count
}

// parseProcIO reads /proc/PID/io.
func parseProcIO(b []byte) (p procIO) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break // half a line
		}
		key, value := nextField(b[:i])
		b = b[i+1:]
		var to *count
		switch string(key) {
		case "rchar:":
			to = &p.rchar
		case "wchar:":
			to = &p.wchar
		case "read_bytes:":
			to = &p.read
		case "write_bytes:":
			to = &p.written
		default:
			continue
		}
		*to, _ = nextUint(value)
	}
	return p
}

// procStatus is what only /proc/PID/status tells of a process or a thread.
type procStatus struct {
	voluntary, nonvoluntary count // context switches of this one thread
	rss, peakRSS            count // KiB, of the process; a dead one has none
	sigIgn                  count // the mask of signals that are ignored
}

// parseProcStatus reads /proc/PID/status.
func parseProcStatus(b []byte) (p procStatus) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		line := b[:i]
		b = b[i+1:]
		if len(line) < 7 {
			continue
		}
		switch line[0] {
		case 'V', 'S', 'v', 'n':
		default:
			continue
		}
		key, value := nextField(line)
		switch string(key) {
		case "VmHWM:":
			p.peakRSS, _ = nextUint(value)
		case "VmRSS:":
			p.rss, _ = nextUint(value)
		case "SigIgn:":
			f, _ := nextField(value)
			p.sigIgn = parseHex(f)
		case "voluntary_ctxt_switches:":
			p.voluntary, _ = nextUint(value)
		case "nonvoluntary_ctxt_switches:":
			p.nonvoluntary, _ = nextUint(value)
		}
	}
	return p
}

// parseTgid reads from /proc/PID/status which process a thread is of.
func parseTgid(b []byte) count {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		if f, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			c, _ := nextUint(f)
			return c
		}
	}
	return count{}
}

// parseSmaps reads /proc/PID/smaps_rollup: KiB.
func parseSmaps(b []byte) (pss, swapPss count) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		key, line := nextField(line)
		var to *count
		switch string(key) {
		case "Pss:":
			to = &pss
		case "SwapPss:":
			to = &swapPss
		default:
			continue
		}
		c, line := nextUint(line)
		if unit, _ := nextField(line); string(unit) == "kB" {
			*to = c
		}
	}
	return pss, swapPss
}

// parseKeyed returns the number behind a key in a file of lines "key number",
// such as cpu.stat.
func parseKeyed(b []byte, name string) count {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return count{}
		}
		key, value := nextField(b[:i])
		b = b[i+1:]
		if string(key) == name {
			c, _ := nextUint(value)
			return c
		}
	}
}

// parsePIDs calls visit for each line of a cgroup.procs that is a number; 0 is
// a process that cannot be seen from here. It stops when visit says false.
func parsePIDs(b []byte, visit func(pid int) bool) {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		if c := parseUint(line); c.ok && c.n < 1<<30 && !visit(int(c.n)) {
			return
		}
	}
}
