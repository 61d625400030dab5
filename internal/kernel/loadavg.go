package kernel

import "bytes"

// Loadavg is /proc/loadavg.
type Loadavg struct {
	Load    [3]Decimal // averages over 1, 5 and 15 minutes
	Running Count      // threads that run or wait for a CPU
	Tasks   Count      // all threads
}

// ParseLoadavg parses /proc/loadavg. See proc_loadavg(5).
func ParseLoadavg(b []byte) (l Loadavg) {
	var f []byte
	for i := range l.Load {
		f, b = NextField(b)
		l.Load[i] = ParseDecimal(f)
	}
	f, _ = NextField(b)
	running, tasks, _ := bytes.Cut(f, []byte{'/'})
	l.Running, l.Tasks = ParseUint(running), ParseUint(tasks)
	return l
}
