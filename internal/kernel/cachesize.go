package kernel

import "bytes"

// ParseCacheSize reads a cache's size in sysfs, such as "8192K" or "32M", in KiB.
func ParseCacheSize(b []byte) Count {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return Count{}
	}
	f := uint64(1)
	switch b[len(b)-1] {
	case 'K':
	case 'M':
		f = 1024
	case 'G':
		f = 1 << 20
	default:
		return Count{}
	}
	c := ParseUint(b[:len(b)-1])
	if c.N > 1<<40 {
		return Count{}
	}
	c.N *= f
	return c
}
