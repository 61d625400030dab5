package kernel

// ParseUptime reads /proc/uptime: seconds.
func ParseUptime(b []byte) Decimal {
	f, _ := NextField(b)
	return ParseDecimal(f)
}
