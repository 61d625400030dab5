package kernel

// The columns of /proc/stat's line "cpu".
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

// Stat is /proc/stat, counters of the whole machine.
type Stat struct {
	CPU        [CPUColumns]Count // clock ticks
	Intr, Ctxt Count
}

// ParseStat reads /proc/stat.
func ParseStat(b []byte) (s Stat) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		// Most lines are those of single CPUs.
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
