package jobtree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// Add starts to follow a job. The error names the process or cgroup that does not exist.
func (s *Set) Add(o Options) (*Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(&o); err != nil {
		return nil, err
	}
	if err := s.scanner.Open(); err != nil {
		return nil, fmt.Errorf("procinfo: %w", err)
	}
	boot, ok := s.boot()
	if !ok {
		return nil, fmt.Errorf("procinfo: cannot read the time since boot from %s", s.fs.ProcPath("uptime"))
	}
	j := &Job{set: s, options: o}
	j.exclude, j.startGiven = o.Exclude, !o.Start.IsZero()
	if o.Cgroup != "" {
		if err := j.cgroup.give(&s.cgroups, o.Cgroup); err != nil {
			return nil, fmt.Errorf("procinfo: cgroup %s: %w", o.Cgroup, err)
		}
	}
	var usage counters
	if o.ChildOfThisProcess {
		usage = childrenUsage() // before the root can have ended unseen
	}
	roots, err := s.findRoots(&o)
	if err != nil {
		return nil, err
	}
	// Nothing fails from here on.
	j.added = s.clock()
	s.begin(j, roots, boot, usage)
	s.exits.watch(&s.forest, &j.tree, j.roots, o.Service != nil)
	return j, nil
}

// check returns an error if the set is closed, or options exclude each other.
func (s *Set) check(o *Options) error {
	switch {
	case s.closed:
		return errClosed
	case len(o.PIDs) == 0 && o.Cgroup == "" && o.Service == nil:
		return errors.New("procinfo: a job needs a process or a cgroup")
	case !o.ChildOfThisProcess:
		return nil
	case s.started != nil:
		return errors.New("procinfo: this process has started a job already")
	case len(o.PIDs) == 0:
		return errors.New("procinfo: a job that this process started needs a process")
	case o.Service != nil:
		return errors.New("procinfo: a job that this process started cannot be a service")
	}
	return nil
}

// A foundRoot is a root process with its stat file.
type foundRoot struct {
	pid  int
	stat kernel.PIDStat
}

// findRoots reads the root processes of a job. Those of a service are found by looks.
func (s *Set) findRoots(o *Options) ([]foundRoot, error) {
	if o.Service != nil {
		return nil, nil
	}
	var roots []foundRoot
	for _, pid := range o.PIDs {
		if slices.ContainsFunc(roots, func(r foundRoot) bool { return r.pid == pid }) {
			continue
		}
		st, err := s.scanner.Process(pid)
		if err != nil {
			return nil, fmt.Errorf("procinfo: %w", err)
		}
		if o.ChildOfThisProcess && st.PPID != s.self {
			return nil, fmt.Errorf("procinfo: process %d is not a child of this process", pid)
		}
		roots = append(roots, foundRoot{pid, st})
	}
	return roots, nil
}

// begin enters a job with its roots into the set. boot is the time since boot, usage the
// counters of the children of this process so far, if it started the job.
func (s *Set) begin(j *Job, roots []foundRoot, boot time.Duration, usage counters) {
	o := &j.options
	s.jobs++
	j.start = boot
	if len(roots) > 0 {
		oldest := slices.MinFunc(roots, func(a, b foundRoot) int { return cmp.Compare(a.stat.Start, b.stat.Start) })
		j.start = process.TicksSinceBoot(oldest.stat.Start)
	}
	if j.startGiven {
		j.start = boot - j.added.Sub(o.Start)
	}
	f := o.Exited
	if o.Service != nil {
		f = j.lookAtEnd
		s.services = append(s.services, j)
	}
	if f != nil {
		j.ended = func() { s.exits.running.Go(f) }
	}
	if o.ChildOfThisProcess {
		s.started = &j.tree
		s.reaper = &proc{pid: s.self, trees: []*tree{&j.tree}}
		s.reaper.setReaped(&usage)
		s.reaper.settle(0, nCounters)
		j.baseline = usage
	}
	for _, r := range roots {
		// A start that was given is not exact to the tick.
		older := j.startGiven && process.TicksSinceBoot(r.stat.Start) < j.start-5*process.Tick
		p := s.addRoot(&j.tree, r.pid, &r.stat, older)
		if o.ChildOfThisProcess {
			p.parent = s.reaper
		}
	}
	s.grown = true
	if o.ChildOfThisProcess && s.generation == 0 {
		// It has just begun: it has no other processes yet.
		s.generation, s.scanned = 1, j.added
	}
}
