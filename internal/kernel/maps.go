package kernel

import "bytes"

// Mapping is a line of /proc/PID/maps: memory that is mapped into a process.
type Mapping struct {
	Start, End uint64 // addresses; End is the first one after it
	Perms      []byte // such as rw-p; the last letter is p for private, s for shared
	Inode      uint64 // of the mapped file; 0 for none
	Path       []byte // the file, or a name in brackets; empty for none
}

// ParseMaps calls visit for each mapping of /proc/PID/maps. The slices of a mapping
// are parts of b.
//
// See https://docs.kernel.org/filesystems/proc.html and proc_pid_maps(5).
func ParseMaps(b []byte, visit func(Mapping)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		addresses, rest := NextField(line)
		low, high, _ := bytes.Cut(addresses, []byte{'-'})
		start, end := ParseHex(low), ParseHex(high)
		m := Mapping{Start: start.N, End: end.N}
		m.Perms, rest = NextField(rest)
		inode, rest := NextUint(SkipFields(rest, 2)) // offset and device
		if start.OK && end.OK && start.N <= end.N && len(m.Perms) == 4 && inode.OK {
			m.Inode, m.Path = inode.N, bytes.TrimLeft(rest, " ")
			visit(m)
		}
	}
}
