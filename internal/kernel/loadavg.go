package kernel

// ParseLoadavg reads /proc/loadavg.
func ParseLoadavg(b []byte) (load [3]Decimal) {
	for i := range load {
		var f []byte
		f, b = NextField(b)
		load[i] = ParseDecimal(f)
	}
	return load
}
