package kernel

// ParseDiskstats reads /proc/diskstats and calls visit for each block device
// with the sectors (of 512 bytes) it read and wrote.
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
