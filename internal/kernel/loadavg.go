package kernel

// ParseLoadavg parses /proc/loadavg. It returns the load averages over 1, 5 and 15 minutes.
//
// See proc_loadavg(5).
func ParseLoadavg(b []byte) (load [3]Decimal) {
	for i := range load {
		var f []byte
		f, b = NextField(b)
		load[i] = ParseDecimal(f)
	}
	return load
}
