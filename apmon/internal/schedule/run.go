package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Run is a run on demand of one task.
type Run struct {
	Task *Task
	Do   func(ctx context.Context) error // nil for Task.Run
}

type onDemand struct{}

// OnDemand reports whether the context is that of a run that [Scheduler.RunNow],
// [Scheduler.RunAll] or [Scheduler.RunFinal] has begun.
func OnDemand(ctx context.Context) bool { return ctx.Value(onDemand{}) != nil }

// RunAll runs all tasks with an interval now, see [Scheduler.RunNow].
func (s *Scheduler) RunAll(ctx context.Context) error {
	var runs []Run
	s.mu.Lock()
	for _, t := range s.tasks {
		if t.Due == nil {
			runs = append(runs, Run{Task: t})
		}
	}
	s.mu.Unlock()
	return s.RunNow(ctx, runs...)
}

// RunNow runs tasks now, and returns when they or ctx have ended. It first waits for
// runs under way, since they may have begun to measure before the call. The error joins
// the errors of the runs, each once.
func (s *Scheduler) RunNow(ctx context.Context, runs ...Run) error {
	return s.runNow(ctx, runs, false)
}

// RunFinal is [Scheduler.RunNow] for tasks after [Scheduler.Finish].
func (s *Scheduler) RunFinal(ctx context.Context, runs ...Run) error {
	return s.runNow(ctx, runs, true)
}

// Finish ends a run under way, and reserves the task for [Scheduler.RunFinal].
// It returns false if the task is reserved already, or removed.
func (s *Scheduler) Finish(t *Task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.final || t.removed {
		return false
	}
	t.final, t.next = true, never
	if t.done != nil {
		t.cancel(errSuperseded)
	}
	return true
}

// RanWithin reports whether a run of the task has ended within the last d.
func (s *Scheduler) RanWithin(t *Task, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.stats.Runs > 0 && s.now()-t.ended <= d
}

// RunDue runs the tasks that are due, and returns when they or ctx have ended. It does
// not count the runs missed since the last call. With settle, it also waits for runs
// under way.
func (s *Scheduler) RunDue(ctx context.Context, settle bool) error {
	ctx, stop := s.Bound(ctx)
	defer stop()
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return context.Cause(s.ctx)
	}
	due, _ := s.due(s.now(), false)
	for _, t := range due {
		s.launchRun(ctx, t, t.Run)
	}
	tasks := slices.Clone(s.tasks)
	s.mu.Unlock()
	if settle {
		for _, t := range tasks {
			if t.Due != nil {
				continue
			}
			if err := s.wait(ctx, t); err != nil {
				return err
			}
		}
	}
	return s.await(ctx, due, nil)
}

func (s *Scheduler) runNow(ctx context.Context, runs []Run, final bool) error {
	ctx, stop := s.Bound(context.WithValue(ctx, onDemand{}, true))
	defer stop()
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	var begun []*Task
	// begin returns false if a run is under way.
	begin := func(r Run) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		t := r.Task
		switch {
		case t.removed:
		case t.done != nil:
			return false
		case t.final && !final: // the final run has ended
		default:
			do := r.Do
			if do == nil {
				do = t.Run
			}
			s.launchRun(ctx, t, do)
			begun = append(begun, t)
		}
		return true
	}
	var busy []Run
	for _, r := range runs {
		if !begin(r) {
			busy = append(busy, r)
		}
	}
	var errs []error
	for _, r := range busy {
		var err error
		for err == nil && !begin(r) { // another caller may have begun first
			err = s.wait(ctx, r.Task)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return s.await(ctx, begun, errs)
}

// await waits for tasks and joins their errors with others, each once.
func (s *Scheduler) await(ctx context.Context, tasks []*Task, errs []error) error {
	for _, t := range tasks {
		err := s.wait(ctx, t)
		if err == nil {
			s.mu.Lock()
			err = t.err
			s.mu.Unlock()
		}
		if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// wait waits for a run under way, until it is overdue.
func (s *Scheduler) wait(ctx context.Context, t *Task) error {
	s.mu.Lock()
	done, left := t.done, t.deadline-s.now()
	s.mu.Unlock()
	if done == nil {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("apmon: source %s does not return", t.Name)
	case <-ctx.Done():
		return fmt.Errorf("apmon: source %s: %w", t.Name, context.Cause(ctx))
	}
}
