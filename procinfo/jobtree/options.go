package jobtree

import "time"

// Options say what a job is.
type Options struct {
	// PIDs are the root processes, at least one unless Cgroup or Service is
	// given. All that descends from them belongs to the job.
	PIDs []int
	// Service, if not nil, makes the job a service: see there.
	Service *Service
	// Cgroup is the directory of a cgroup (of version 2, or of any hierarchy
	// of version 1) that is the job's own: all that is in it belongs to the
	// job. Empty: that of the first root counts where it turns out to hold
	// nothing but the job.
	Cgroup string
	// NumCPUs is how many CPUs the job was given; 0 for unknown.
	NumCPUs float64
	// Start is when the job started; zero for when its oldest root did, or,
	// without a root, the oldest process of the cgroup. If a root is older,
	// what its children used before Add is not the job's.
	Start time.Time
	// ChildOfThisProcess reports that this process started the root, is its parent and
	// a child subreaper (prctl(2)). All processes that it reaps from then on belong to
	// the job. So a process can have only one such job, and must not be part of
	// another job at the same time.
	ChildOfThisProcess bool
	// Exclude are other children of this process, which do not belong to the job although
	// this process reaps them, too. Used with ChildOfThisProcess.
	Exclude []int
	// Counter returns the CPU time of everything in the job as measured
	// otherwise, such as by an inherited perf counter; nil for none. It is
	// called by Sample, and may not use Jobs.
	Counter func() (cpu time.Duration, ok bool)
	// Exited, if not nil, is called when all roots have ended, from a
	// goroutine of Jobs: once, for a service each time when none is left. It
	// must not block.
	Exited func()
}

// Service says how the root processes of a service are found. They are looked
// for with each sample, so that the job gains and loses roots while it lives:
// every process that is found is a root, and no longer once it is not found. A
// service lives on without any process, until it is removed.
//
// JobOptions.PIDs are roots of it, too, once they are there. A process that has
// the id of one that has ended is not.
type Service struct {
	// PIDs returns the ids of more root processes, such as one from a pid
	// file; nil for none. Those that do not exist are ignored.
	PIDs func() ([]int, error)
	// Match reports whether a process is a root by its command line: arguments,
	// each ended by a zero byte, cut at 64 KiB. Processes without one (kernel
	// threads, zombies) are not shown. The line may not be kept. Nil for none.
	Match func(pid int, cmdline []byte) bool
}
