package kernel

import (
	"bytes"
	"strings"
)

// ParseCgroup returns the cgroup of /proc/PID/cgroup that a controller is in,
// of version 2 where the controller is empty.
func ParseCgroup(b []byte, controller string) (path string, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		f := strings.SplitN(string(line), ":", 3)
		if len(f) == 3 && HasController(f[1], controller) {
			return f[2], true
		}
	}
	return "", false
}

// HasController reports whether a comma-separated list holds the name.
func HasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// ParseKeyed returns the number behind a key in a file of lines "key number",
// such as cpu.stat.
func ParseKeyed(b []byte, name string) Count {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return Count{}
		}
		key, value := NextField(b[:i])
		b = b[i+1:]
		if string(key) == name {
			c, _ := NextUint(value)
			return c
		}
	}
}

// ParsePIDs calls visit for each line of a cgroup.procs that is a number; 0 is
// a process that cannot be seen from here. It stops when visit says false.
func ParsePIDs(b []byte, visit func(pid int) bool) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		if c := ParseUint(line); c.OK && c.N < 1<<30 && !visit(int(c.N)) {
			return
		}
	}
}
