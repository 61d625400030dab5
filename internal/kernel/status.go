package kernel

import "bytes"

// Status holds fields of /proc/PID/status, of a process or of a thread.
type Status struct {
	Tgid                    Count  // id of the process
	NSPID                   []byte // ids in each pid namespace, from that of the proc file system inwards
	RSS, PeakRSS, Swap      Count  // KiB, of the process; a zombie has none
	UIDs, GIDs              []byte // real, effective, saved and of the file system, separated by tabs
	CapEff                  Count  // bit mask of the effective capabilities
	SigIgn                  Count  // bit mask of the ignored signals: bit 0 is signal 1
	CPUsAllowed             []byte // CPUs it may run on: see ParseCPUList
	Voluntary, Nonvoluntary Count  // context switches of this thread alone
}

// ParseStatus parses /proc/PID/status. An incomplete last line is ignored.
// The slices in the result are parts of b.
//
// See https://docs.kernel.org/filesystems/proc.html, table 1-2, and
// proc_pid_status(5).
func ParseStatus(b []byte) (p Status) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		line := b[:i]
		b = b[i+1:]
		if len(line) < 6 {
			continue
		}
		switch line[0] {
		case 'T', 'N', 'U', 'G', 'V', 'S', 'C', 'v', 'n':
		default:
			continue
		}
		key, value := NextField(line)
		switch string(key) {
		case "Tgid:":
			p.Tgid, _ = NextUint(value)
		case "NSpid:":
			p.NSPID = bytes.TrimSpace(value)
		case "VmHWM:":
			p.PeakRSS, _ = NextUint(value)
		case "VmSwap:":
			p.Swap, _ = NextUint(value)
		case "VmRSS:":
			p.RSS, _ = NextUint(value)
		case "Uid:":
			p.UIDs = bytes.TrimSpace(value)
		case "Gid:":
			p.GIDs = bytes.TrimSpace(value)
		case "CapEff:":
			f, _ := NextField(value)
			p.CapEff = ParseHex(f)
		case "SigIgn:":
			f, _ := NextField(value)
			p.SigIgn = ParseHex(f)
		case "Cpus_allowed_list:":
			p.CPUsAllowed, _ = NextField(value)
		case "voluntary_ctxt_switches:":
			p.Voluntary, _ = NextUint(value)
		case "nonvoluntary_ctxt_switches:":
			p.Nonvoluntary, _ = NextUint(value)
		}
	}
	return p
}
