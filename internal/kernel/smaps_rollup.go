package kernel

// ParseSmapsRollup parses /proc/PID/smaps_rollup. It returns the proportional set size of
// the process, resident and swapped, in KiB.
//
// See proc_pid_smaps(5).
func ParseSmapsRollup(b []byte) (pss, swapPss Count) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, line := NextField(line)
		var to *Count
		switch string(key) {
		case "Pss:":
			to = &pss
		case "SwapPss:":
			to = &swapPss
		default:
			continue
		}
		c, line := NextUint(line)
		if unit, _ := NextField(line); string(unit) == "kB" {
			*to = c
		}
	}
	return pss, swapPss
}
