package kernel

// The columns of the line "cpu" in /proc/stat.
const (
	CPUUser = iota
	CPUNice
	CPUSystem
	CPUIdle
	CPUIOWait
	CPUIRQ
	CPUSoftIRQ
	CPUSteal
	CPUGuest
	CPUGuestNice
	CPUColumns
)

// Stat holds counters of /proc/stat, of all CPUs since boot.
type Stat struct {
	CPU        [CPUColumns]Count // clock ticks
	Intr, Ctxt Count             // interrupts, context switches
}

// ParseStat parses /proc/stat.
//
// See proc_stat(5).
func ParseStat(b []byte) (s Stat) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		// Skip the lines of single CPUs, which are most of the file.
		if len(line) < 5 || line[0] == 'c' && line[1] == 'p' && line[3] != ' ' {
			continue
		}
		key, line := NextField(line)
		switch string(key) {
		case "cpu":
			for i := range s.CPU {
				s.CPU[i], line = NextUint(line)
			}
		case "intr":
			s.Intr, _ = NextUint(line)
		case "ctxt":
			s.Ctxt, _ = NextUint(line)
		}
	}
	return s
}
