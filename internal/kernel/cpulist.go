package kernel

import "bytes"

// ParseCPUList returns the number of CPUs in a list such as "0-3,8", the format of
// /sys/devices/system/cpu/online and cpuset.cpus.
//
// See "List format" in cpuset(7).
func ParseCPUList(b []byte) Count {
	b = bytes.TrimSpace(b)
	var n Count
	for len(b) > 0 {
		var part []byte
		part, b, _ = bytes.Cut(b, []byte{','})
		lo, hi, isRange := bytes.Cut(part, []byte{'-'})
		first, last := ParseUint(lo), ParseUint(hi)
		if !isRange {
			last = first
		}
		if !first.OK || !last.OK || last.N < first.N || last.N > 1<<20 {
			return Count{}
		}
		n.N += last.N - first.N + 1
		n.OK = true
	}
	return n
}
