package process

import (
	"strconv"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Stat reads the stat file of a process or a thread. Its start time and the pid
// identify a process. ok is false if there is no such process, or no /proc.
func Stat(pid int) (st kernel.PIDStat, ok bool) {
	b, err := ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return kernel.PIDStat{}, false
	}
	return kernel.ParsePIDStat(b)
}

// Children returns the children of a process. It finds none without /proc.
func Children(pid int) []int { return childrenOfAll()[pid] }

// Descendants returns the children of a process and all their descendants, parents
// before their children. It finds none without /proc.
func Descendants(pid int) []int {
	children := childrenOfAll()
	pids := children[pid]
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
		delete(children, pids[i]) // pids reused during the scan could form a cycle
	}
	return pids
}

// childrenOfAll returns the children of each process that has some.
func childrenOfAll() map[int][]int {
	s := NewScanner("/proc")
	defer s.Close()
	children := map[int][]int{}
	_ = s.Scan(func(pid int, stat []byte) { // a partial result is of use, too
		if st, ok := kernel.ParsePIDStat(stat); ok {
			children[st.PPID] = append(children[st.PPID], pid)
		}
	})
	return children
}
