package launch

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"github.com/apmon-go/apmon/internal/kernel"
)

// ignoredSignals returns the signals that this process ignores, as bits.
func ignoredSignals() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return kernel.ParseStatus(status).SigIgn.N
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

// stat reads /proc/PID/stat.
func stat(pid int) (kernel.PIDStat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return kernel.PIDStat{}, false
	}
	return kernel.ParsePIDStat(b)
}

// StartTime returns when a process started, in clock ticks since boot: with the pid
// it identifies a process. ok is false if there is no such process.
func StartTime(pid int) (ticks uint64, ok bool) {
	st, ok := stat(pid)
	return st.Start, ok
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
			if st, ok := stat(pid); ok {
				children[st.PPID] = append(children[st.PPID], pid)
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
