package kernel

// ParseUptime parses /proc/uptime. It returns the time since boot in seconds.
//
// See proc_uptime(5).
func ParseUptime(b []byte) Decimal {
	f, _ := NextField(b)
	return ParseDecimal(f)
}
