package procinfo

import "strings"

// A reading is a set of files that a sample of a host reads.
type reading uint16

const (
	readLoad reading = 1 << iota
	readStat
	readMeminfo
	readVmstat
	readNet
	readTCP
	readSockets
	readProcesses
	readUptime
	readPressureCPU
	readPressureMemory
	readPressureIO
	readDisks
)

// readings maps the sources in the table of the host's parameters to files. In the table, a
// source may be followed by a space and more, such as a key.
var readings = [...]struct {
	source string
	reads  reading
}{
	{"/proc/loadavg", readLoad},
	{"/proc/stat", readStat},
	{"/proc/meminfo", readMeminfo},
	{"/proc/vmstat", readVmstat},
	{"/proc/net/dev", readNet},
	{"netlink sock_diag", readTCP},
	{"/proc/net/sockstat, sockstat6", readSockets},
	{"/proc/net/protocols", readSockets},
	{"/proc/net/protocols, else unix", readSockets},
	{"/proc", readProcesses},
	{"/proc/PID/stat", readProcesses},
	{"/proc/uptime", readUptime},
	{"/proc/pressure/cpu", readPressureCPU},
	{"/proc/pressure/memory", readPressureMemory},
	{"/proc/pressure/io", readPressureIO},
	{"/proc/diskstats", readDisks},
}

// readingOf returns the reading of a row's source, 0 for an unknown source.
func readingOf(source string) reading {
	for _, r := range readings {
		if source == r.source || strings.HasPrefix(source, r.source+" ") {
			return r.reads
		}
	}
	return 0
}

// has reports whether one of these files is read.
func (r reading) has(any reading) bool { return r&any != 0 }
