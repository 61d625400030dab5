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

// Children returns the children of a process. It finds none without /proc. If children are
// reaped meanwhile, others may be missing.
func Children(pid int) []int {
	if pids, ok := listedChildren(pid); ok {
		return pids
	}
	return childrenOfAll()[pid]
}

// listedChildren returns the children of all threads of a process. It returns false if the
// kernel does not list them, or if a thread ends meanwhile.
func listedChildren(pid int) (pids []int, ok bool) {
	s := NewScanner("/proc")
	if s.Open() != nil {
		return nil, false
	}
	defer s.Close()
	var threads []int
	if _, errno := s.Entries(pid, "task", func(tid int) { threads = append(threads, tid) }); errno != 0 {
		return nil, false
	}
	for _, tid := range threads {
		if errno := s.Children(pid, tid, func(child int) { pids = append(pids, child) }); errno != 0 {
			return nil, false
		}
	}
	return pids, len(threads) > 0
}

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
