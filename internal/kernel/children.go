package kernel

// ParseChildren calls visit for each child of a thread: the pids of
// /proc/PID/task/TID/children, which have a space after each.
func ParseChildren(b []byte, visit func(pid int)) {
	for {
		var field []byte
		if field, b = NextField(b); len(field) == 0 {
			return
		}
		if c := ParseUint(field); c.OK && c.N < 1<<30 {
			visit(int(c.N))
		}
	}
}
