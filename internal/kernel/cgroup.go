package kernel

import (
	"bytes"
	"strings"
)

// ParseCgroup parses /proc/PID/cgroup. It returns the path of the process's cgroup in the
// hierarchy of a controller of version 1, or in that of version 2 if controller is empty.
//
// See cgroups(7).
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

// HasController reports whether a comma-separated list of controllers contains name.
func HasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// ParseKeyed returns the number of a key in a cgroup file of lines "key number", such as
// cpu.stat or memory.events. The unit depends on the key. An incomplete last line is
// ignored.
//
// See https://docs.kernel.org/admin-guide/cgroup-v2.html.
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

// ParseNumber returns the number of a file that holds nothing else, such as
// memory.current. It is unknown in a pids.max that holds "max".
func ParseNumber(b []byte) Count {
	line, _ := NextLine(b)
	return ParseUint(line)
}

// ParsePIDs parses cgroup.procs. It calls visit with each process id, until visit returns
// false. The id is 0 for a process outside of the pid namespace of this process.
//
// See https://docs.kernel.org/admin-guide/cgroup-v2.html.
func ParsePIDs(b []byte, visit func(pid int) bool) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		if c := ParseUint(line); c.OK && c.N < 1<<30 && !visit(int(c.N)) {
			return
		}
	}
}
