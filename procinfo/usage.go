package procinfo

// Usage is what the kernel reports of this process, on Linux.
type Usage struct {
	Uptime     Value // s, since the process started
	RSS        Value // bytes
	VSZ        Value // bytes
	UserTime   Value // s
	SystemTime Value // s
	Threads    Value
	OpenFiles  Value
}
