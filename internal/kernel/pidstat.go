package kernel

import "bytes"

// afterName returns the fields of /proc/PID/stat that follow the name, beginning with the
// state, or nil if the file ends before. The name may contain anything, even ") R 1 (".
func afterName(b []byte) []byte {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+2 >= len(b) || b[i+1] != ' ' {
		return nil
	}
	return b[i+2:]
}

// ParsePIDState parses the state of a process in /proc/PID/stat, as [ParsePIDStat] does,
// which takes three times as long. It returns 0 if the file ends before.
func ParsePIDState(b []byte) byte {
	if b = afterName(b); b == nil {
		return 0
	}
	return b[0]
}

// PIDStat holds fields of /proc/PID/stat.
type PIDStat struct {
	State                            byte // such as 'R', 'S' or 'Z'
	PPID, Session                    int
	Threads                          uint64
	Start                            uint64 // clock ticks since boot
	UTime, STime, CUTime, CSTime     uint64 // clock ticks; C: of children that were waited for
	MinFlt, CMinFlt, MajFlt, CMajFlt uint64 // page faults; C: of children that were waited for
	VSize                            uint64 // bytes
	RSS                              uint64 // pages
}

// ParsePIDStat parses /proc/PID/stat. If a field is missing or malformed, ok is false and no
// field is set: an incomplete line may end with an incomplete number.
//
// See proc_pid_stat(5).
func ParsePIDStat(b []byte) (s PIDStat, ok bool) {
	b = afterName(b)
	if len(b) < 2 {
		return PIDStat{}, false
	}
	s.State, b = b[0], b[1:]
	// The fields from the 4th on. The 25th is not used: it proves that the 24th is
	// complete.
	var f [26]uint64
	for n := 4; n <= 25; n++ {
		var field []byte
		if field, b = NextField(b); len(field) == 0 {
			return PIDStat{}, false
		}
		switch n {
		case 5, 7, 8, 9, 18, 19, 21, 25: // not used; some are negative
			continue
		}
		c := ParseUint(field)
		if !c.OK || c.N > 1<<53 && n != 23 {
			return PIDStat{}, false
		}
		f[n] = c.N
	}
	const maxPID = 1 << 30
	if f[4] > maxPID || f[6] > maxPID {
		return PIDStat{}, false
	}
	s.PPID, s.Session = int(f[4]), int(f[6])
	s.MinFlt, s.CMinFlt, s.MajFlt, s.CMajFlt = f[10], f[11], f[12], f[13]
	s.UTime, s.STime, s.CUTime, s.CSTime = f[14], f[15], f[16], f[17]
	s.Threads, s.Start, s.VSize, s.RSS = f[20], f[22], f[23], f[24]
	return s, true
}

// ParseExitStatus returns the wait status (wait(2)) of a zombie, field 52 of /proc/PID/stat.
// The kernel writes 0 for readers that may not know it: see ptrace(2), "Ptrace access mode
// checking".
func ParseExitStatus(b []byte) Count {
	b = afterName(b)
	var field []byte
	for n := 3; n <= 52; n++ {
		field, b = NextField(b)
	}
	return ParseUint(field)
}

// Dead reports whether the process has ended and waits to be reaped. A process whose first
// thread alone has ended is not dead.
func (s *PIDStat) Dead() bool { return (s.State == 'Z' || s.State == 'X') && s.Threads <= 1 }
