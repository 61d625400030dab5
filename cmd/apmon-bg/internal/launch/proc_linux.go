package launch

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// ignoredSignals returns the signals that this process ignores, as bits.
func ignoredSignals() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(status, []byte("\nSigIgn:\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	set, err := strconv.ParseUint(string(line), 16, 64)
	if err != nil {
		return 0
	}
	return set
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

// stat tells a process's state and its parent, from /proc/PID/stat.
func stat(pid int) (state byte, ppid int, ok bool) {
	f := statFields(pid)
	if len(f) < 2 {
		return 0, 0, false
	}
	ppid, err := strconv.Atoi(string(f[1]))
	return f[0][0], ppid, err == nil
}

// statFields are the fields of /proc/PID/stat behind the name, which may hold
// anything.
func statFields(pid int) [][]byte {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
}

// StartTime is when a process started, in clock ticks since the machine did: with
// its pid it names a process for ever. ok is false if there is no such process.
func StartTime(pid int) (ticks uint64, ok bool) {
	f := statFields(pid)
	if len(f) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseUint(string(f[19]), 10, 64)
	return ticks, err == nil
}

// childrenOf returns the children of a process.
func childrenOf(parent int) []int { return descendants(parent, false) }

// descendants returns the children of a process, and with all their descendants too.
func descendants(root int, all bool) (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	children := map[int][]int{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if _, ppid, ok := stat(pid); ok {
				children[ppid] = append(children[ppid], pid)
			}
		}
	}
	pids = children[root]
	for i := 0; all && i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// quiet reports whether no process seems to wait for a CPU.
func quiet() bool {
	load := bytes.Fields(readSmall("/proc/loadavg"))
	if len(load) < 4 {
		return false
	}
	running, _, _ := bytes.Cut(load[3], []byte("/"))
	n, ok := number(running)
	return ok && n <= runtime.NumCPU()
}
