package jobtree

import "time"

// Options define a job.
type Options struct {
	// PIDs are the root processes, at least one unless Cgroup or Service is given. All
	// their descendants belong to the job.
	PIDs []int
	// Service, if not nil, makes the job a service: see [Service].
	Service *Service
	// Cgroup is the directory of a cgroup (of version 2, or of any hierarchy of version 1)
	// that is the job's own: all processes in it belong to the job. If it is empty, the
	// cgroup of the roots is used, provided that it contains no process of others.
	Cgroup string
	// NumCPUs is the number of CPUs that the job was given; 0 if unknown.
	NumCPUs float64
	// Start is the start time of the job. If it is zero, it is that of the oldest root, or,
	// without a root, of the oldest process in the cgroup. If a root is older than Start,
	// CPU time that its children used before Add does not belong to the job.
	Start time.Time
	// ChildOfThisProcess reports that this process started the root, is its parent and
	// a child subreaper (prctl(2)). All processes that it reaps from then on belong to
	// the job. So a process can have only one such job, and must not be part of
	// another job at the same time.
	ChildOfThisProcess bool
	// Exclude are other children of this process, which do not belong to the job although
	// this process reaps them, too. Used with ChildOfThisProcess.
	Exclude []int
	// Children is how many direct children of the roots a sample lists at most, the oldest
	// first: see [procinfo.JobSample]. Used with ChildOfThisProcess.
	Children int
	// Counter, if not nil, returns the CPU time of the whole job from another source, such
	// as an inherited perf counter: 0 if it is unknown, and whether it is complete. Sample
	// calls it. It must not call methods of the Set or its jobs.
	Counter func() (cpu time.Duration, complete bool)
	// Exited, if not nil, is called in a goroutine of the Set when all roots have ended:
	// once, or, for a service, each time that none is left. It must not block.
	Exited func()
}

// Service defines how to find the root processes of a service. Each sample looks for them:
// the roots are those processes that the last look found. A service exists until it is
// removed, even without any process.
//
// Options.PIDs are roots, too, as soon as they exist. If such a process ends, a later
// process with the same id is not a root.
type Service struct {
	// PIDs, if not nil, returns the ids of more root processes, for example from a pid
	// file. Ids of processes that do not exist are ignored.
	PIDs func() ([]int, error)
	// Match reports whether a process is a root by the arguments of its command
	// line, which is cut at 64 KiB. Match is not called for processes without
	// any: kernel threads and zombies. Nil for none.
	Match func(pid int, args []string) bool
}
