package procinfo

// Usage holds the resource usage of this process. It is known on Linux only.
type Usage struct {
	Uptime     Value // s, since the process started
	RSS        Value // bytes
	VSZ        Value // bytes
	UserTime   Value // s
	SystemTime Value // s
	Threads    Value
	OpenFiles  Value
}
