package kernel

import "bytes"

// ParseCacheSize parses /sys/devices/system/cpu/cpuN/cache/indexN/size, such as "8192K" or
// "32M". The result is in KiB.
//
// See Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel.
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
