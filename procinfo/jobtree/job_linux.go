package jobtree

import (
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// A Set follows jobs on this host: trees of processes, with the counters of those that
// have ended. It is safe for concurrent use.
//
// A job is its root processes, all their descendants, the processes of the session that
// a root leads, and those of the cgroup that is the job's own. A process is known by pid
// and start time. Once it is seen as part of a job it stays so until it is reaped. One
// scan of /proc serves all jobs, and the host if [procinfo.Host.Processes] is the value
// given to [New].
//
// CPU time that no scan saw is lost: see docs/jobs.md.
type Set struct {
	forest

	services []*Job           // the jobs that are services
	look     *serviceLook     // the last look for their processes, nil for none
	finder   *process.Scanner // of the look that is under way
	closing  chan struct{}    // closed by Close

	memTotal procinfo.Value // KiB
	cgroups  cgroupMounts
	exits    exits
}

// A Job is a job that is followed.
type Job struct {
	tree
	set     *Set
	options Options
	added   time.Time
	over    bool // at the last sample no process was left

	user    int64 // ns, of the last sample: it never decreases
	samples uint64
	peaks   jobPeaks
	ran     procinfo.Value // s, the last run time

	cgroup  jobCgroup
	memory  jobMemory
	net     jobNet
	gpu     jobGPU
	service serviceState
}

// jobPeaks are the highest values of a job in any sample.
type jobPeaks struct{ rss, virtualMem, processes, threads, openFiles procinfo.Value }

// serviceState is the state of a job that is a service.
type serviceState struct {
	up       bool           // the last look found a process
	ever     bool           // a look has found a process
	restarts uint64         // how often new processes were found when none was left
	known    map[int]uint64 // start time of each process in Options.PIDs
	looked   time.Duration  // since boot: when the last look began
	endLook  time.Time      // the last look because all roots had ended
	unseen   bool           // all roots have ended, and no look was made then
	err      error          // of the last look

	cpuBefore int64 // CPU time of the job before the service restarted
}

// fill fills in the values of the service itself.
func (v *serviceState) fill(to *procinfo.JobSample) {
	to.Up, to.Restarts = procinfo.Known(0), procinfo.Known(float64(v.restarts))
	if v.up {
		to.Up = procinfo.Known(1)
	}
}

// serviceLook is a look for the processes of all services.
type serviceLook struct {
	began time.Time
	boot  time.Duration   // the same since boot
	jobs  []*Job          // to look for
	late  <-chan struct{} // closed when samples stop waiting for it
	done  chan struct{}
}

func (l *serviceLook) isDone() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// New returns an empty set of jobs on the host with these trees and processes. It opens
// nothing yet.
func New(fs procinfo.FS, host *procinfo.Processes) *Set {
	s := &Set{
		forest:  forest{fs: fs, host: host, clock: time.Now, procs: map[int]*proc{}, sessions: map[int][]*tree{}},
		cgroups: cgroupMounts{fs: fs},
		closing: make(chan struct{}),
	}
	s.scanner, s.finder = process.NewScanner(fs.Proc), process.NewScanner(fs.Proc)
	s.self, s.own = ownProcesses(fs)
	s.boot = func() (time.Duration, bool) { return uptime(fs) }
	if s.own {
		s.boot = process.SinceBoot
	}
	host.Follow(s.recent)
	return s
}

// notBefore returns the earliest time of a scan or look that may serve a sample now.
func (j *Job) notBefore() time.Time {
	t := j.set.clock().Add(-scanAge)
	if j.added.After(t) {
		t = j.added
	}
	if j.hasEnd && j.end.After(t) {
		t = j.end
	}
	return t
}

// Remove stops following the job. It may be called twice.
func (j *Job) Remove() {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.removed {
		return
	}
	j.removed = true
	s.jobs--
	for _, p := range j.members {
		s.leave(p, &j.tree)
	}
	j.members = nil
	for _, session := range j.led {
		s.unlead(&j.tree, session)
	}
	s.services = slices.DeleteFunc(s.services, func(k *Job) bool { return k == j })
	if s.started == &j.tree {
		s.started, s.reaper = nil, nil
	}
	s.exits.unwatch(&j.tree)
}

// Has reports whether the process with this id belonged to the job in the last scan.
func (j *Job) Has(pid int) bool {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[pid]
	return p != nil && p.member(&j.tree)
}

// Close stops following all jobs, waits for its goroutines, and closes all files.
// Samples fail from then on. It may be called twice.
func (s *Set) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.host.Follow(nil)
		close(s.closing)
	}
	s.mu.Unlock()
	s.exits.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanner.Close()
	if s.look == nil || s.look.isDone() { // otherwise the look closes it
		s.finder.Close()
	}
	for _, p := range s.procs {
		s.closeIO(p)
	}
	return nil
}
