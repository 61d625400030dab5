package jobtree

import (
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// A walk finds the processes of a job that this process started without a scan of all of
// /proc: this process is a child subreaper, so the whole job is below it. The walk goes from
// the children of a process to theirs. See "children" in
// https://docs.kernel.org/filesystems/proc.html.
//
// A list that is read while processes end may lack others. Therefore known processes that no
// list has are asked, and the walk is repeated when it sees that a process ended or got
// another parent meanwhile. A process that is missed nevertheless is found by the next pass,
// or is in the counters of the process that reaps it: as in a scan of /proc, which misses
// processes that begin meanwhile.

// maxRounds bounds how often a walk is repeated: a job may create and end processes all the
// time.
const maxRounds = 4

// walks reports whether a walk finds the processes of all jobs.
func (s *forest) walks() bool {
	if s.jobs != 1 || s.started == nil || s.self == 0 || s.noChildren {
		return false
	}
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return err == nil && subreaper != 0
}

// walk reads the processes below this one, or all processes of the host if the kernel does
// not list the children of a thread. As a scan does, it passes over what it cannot read, and
// returns the first error.
func (s *forest) walk() error {
	s.scanned, s.whole = s.clock(), false
	return s.pass(func() error {
		for range maxRounds {
			steady := s.walkOnce()
			if s.noChildren {
				s.whole = true
				return s.host.Scan(s.visit)
			}
			if steady {
				break
			}
		}
		return s.walkErr
	})
}

// walkOnce is one round of a walk. It reports whether no process ended or got another parent
// meanwhile.
func (s *forest) walkOnce() (steady bool) {
	s.round++
	s.strangers = s.strangers[:0]
	s.queue, s.walkErr = s.queue[:0], nil
	steady = s.descend(s.self, 2)
	asked := false
	for i := 0; ; i++ {
		if i == len(s.queue) {
			if asked {
				return steady
			}
			asked = true
			s.askUnlisted()
			i--
			continue
		}
		p := s.queue[i]
		if p.zombie && p.threads <= 1 {
			continue // the kernel has given its children another parent
		}
		same := s.descend(p.pid, p.threads)
		steady = steady && same
	}
}

// unread keeps the first error of a round.
func (s *forest) unread(err error) {
	if s.walkErr == nil {
		s.walkErr = err
	}
}

// askUnlisted reads the known processes that no list of this round has, and appends them to
// the queue: those that were moved into the cgroup of the job, and those that the lists lack.
func (s *forest) askUnlisted() {
	s.unread(s.ask())
	for _, p := range s.procs {
		if p.generation == s.generation && p.round != s.round {
			s.enqueue(p)
		}
	}
}

func (s *forest) enqueue(p *proc) {
	p.round = s.round
	s.queue = append(s.queue, p)
}

// descend reads the children of a process, and appends those of the job to the queue. It
// reports whether they still were its children then.
func (s *forest) descend(pid int, threads uint64) (steady bool) {
	steady = s.list(pid, threads)
	for _, child := range s.pids {
		if s.started.excludes(child) {
			continue
		}
		p := s.procs[child]
		if p != nil && p.round == s.round {
			continue
		}
		b, errno := s.scanner.Read(child, "stat")
		if errno != 0 {
			if process.Gone(errno) {
				steady = false
			} else {
				s.unread(s.pathError(child, "stat", errno))
			}
			continue
		}
		st, ok := kernel.ParsePIDStat(b)
		was := p != nil && p.start == st.Start && p.zombie
		s.visit(child, b)
		s.adopt()
		if p = s.procs[child]; p != nil && p.generation == s.generation {
			s.enqueue(p)
			// The children of a process that has just ended may be in a list that
			// was read before.
			steady = steady && was == p.zombie
		}
		steady = steady && ok && st.PPID == pid
	}
	return steady
}

// list reads the pids of the children of a process with so many threads into s.pids. It
// reports whether no thread ended meanwhile.
func (s *forest) list(pid int, threads uint64) (steady bool) {
	s.pids = s.pids[:0]
	s.tids = append(s.tids[:0], pid)
	if threads > 1 {
		if errno := s.listThreads(pid); process.Gone(errno) {
			return false
		} else if errno != 0 {
			s.unread(s.pathError(pid, "task", errno))
		}
	}
	steady = true
	for _, tid := range s.tids {
		switch errno := s.scanner.Children(pid, tid, func(child int) { s.pids = append(s.pids, child) }); {
		case errno == 0:
		case errno == syscall.ENOENT && pid == s.self && tid == pid:
			s.noChildren = true // this process exists
			return false
		case process.Gone(errno):
			steady = false
		default:
			s.unread(s.pathError(pid, "children", errno))
		}
	}
	return steady
}

// excludes reports whether a child of this process is not the tree's.
func (t *tree) excludes(pid int) bool { return slices.Contains(t.exclude, pid) }
