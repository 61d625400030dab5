package kernel

// ParseStatm parses /proc/PID/statm. It returns the resident memory in pages.
//
// See proc_pid_statm(5).
func ParseStatm(b []byte) (resident Count) {
	resident, _ = NextUint(SkipFields(b, 1))
	return resident
}
