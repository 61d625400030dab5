package kernel

// ParseDiskstats parses /proc/diskstats. It calls visit with the name of each block device,
// and the sectors of 512 bytes that were read and written since boot.
//
// See https://docs.kernel.org/admin-guide/iostats.html.
func ParseDiskstats(b []byte, visit func(name []byte, read, written Count)) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		name, line := NextField(SkipFields(line, 2))
		read, line := NextUint(SkipFields(line, 2))
		written, _ := NextUint(SkipFields(line, 3))
		if len(name) > 0 {
			visit(name, read, written)
		}
	}
}
