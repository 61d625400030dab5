// Package schedule runs tasks at equal intervals.
//
// A [Scheduler] uses one goroutine and one timer, and only while a task can
// become due. Each run has a goroutine of its own, so that a task that hangs or
// panics does not delay the others. A task that is due while its previous run
// is still under way is skipped and counted. Runs missed while the computer sleeps are
// counted as skipped and not made later.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Task is run repeatedly by a [Scheduler]. Its owner sets the exported fields before
// [Scheduler.Add], and does not change them afterwards.
type Task struct {
	Name string // in errors and statistics
	// Interval is the time between two runs. The first run is due after a random
	// part of it, the same for all tasks of the scheduler, so that tasks with one
	// interval run together and wake the processor once.
	Interval time.Duration
	Shift    time.Duration // shifts the runs relative to those of other tasks
	// Due, if not nil, takes the place of Interval: it returns the time of the
	// next run, the zero time for never. Such a task runs from Add on, whether
	// the scheduler is started or not, has no time limit and no statistics, and
	// [Scheduler.RunAll] and [Scheduler.RunDue] do not run it. Call
	// [Scheduler.Wake] when the result changes. Due must not block.
	Due func() time.Time
	// Run does the work. Its context ends when the next run is due; see
	// [OnDemand]. It is never called concurrently.
	Run func(ctx context.Context) error
	// Prime, if not nil, is called once before the first run.
	Prime func()
	// Close, if not nil, is called once, when the task is removed and not running.
	Close func()

	// The scheduler's mutex guards the fields below.
	next     time.Duration // on the scheduler's clock
	removed  bool
	final    bool                    // only RunFinal runs it
	cancel   context.CancelCauseFunc // ends the context of the run
	done     chan struct{}           // closed when the run under way ends; nil if none
	deadline time.Duration           // on the scheduler's clock, of the run under way
	err      error                   // of the last run
	ended    time.Duration           // on the scheduler's clock, of the last run
	failures int                     // since the last success
	noted    bool                    // an event Skipped was reported for the present run
	stats    Stats
}

// Stats holds the state and the counters of one task.
type Stats struct {
	Name      string
	Interval  time.Duration
	Next      time.Time     // when the next run is due; zero unless the scheduler is started
	Runs      uint64        // runs that have ended
	Skipped   uint64        // runs not begun, as the previous one was still under way
	Failures  uint64        // runs that have failed
	LastError string        // of the last run; empty if it succeeded
	Took      time.Duration // duration of the last run
	Busy      bool          // a run is under way
}

// EventKind is the kind of an [Event].
type EventKind int

// Kinds of events.
const (
	Done      EventKind = iota // a run has succeeded
	Recovered                  // a run has succeeded after failures
	Failed                     // a run has failed, after one that succeeded
	Skipped                    // a run is skipped for the first time since the last one began
)

// Event is an event for the log.
type Event struct {
	Kind     EventKind
	Task     string
	Took     time.Duration // of Done
	Failures int           // of Recovered: the failures in a row before
	Err      error         // of Failed
}

// ErrStarted is the error of [Scheduler.Start] if the scheduler is started already.
var ErrStarted = errors.New("scheduler is started already")

// ErrExited is the error of a run that ended its goroutine.
var ErrExited = errors.New("ended its goroutine with runtime.Goexit")

// errSuperseded ends a run in favor of the final one.
var errSuperseded = errors.New("the last report follows")

const (
	// never is a time that is not reached.
	never = time.Duration(1<<63 - 1)
	// unlimited is the time limit of tasks without an interval, and of final
	// runs.
	unlimited = 1e9 * time.Second
	// closeTimeout bounds the time that Close waits for runs.
	closeTimeout = 500 * time.Millisecond
)

// Scheduler runs tasks. Its methods may be called concurrently.
type Scheduler struct {
	ctx    context.Context // ends with the scheduler
	origin time.Time       // of its clock, which steps of the wall clock do not affect
	phase  float64         // of the slots, as part of each interval
	report func(Event)

	wake chan struct{} // the next due time has changed
	busy sync.WaitGroup

	mu      sync.Mutex
	tasks   []*Task
	started context.Context // of Start; nil while tasks with an interval do not run
	stop    func()          // releases started
	looping bool            // the goroutine runs
	used    bool            // busy has ever counted a goroutine
	gone    struct{ skipped, failures uint64 }
}

// New returns a scheduler that lasts until ctx ends. Later calls return the cause of
// that as their error. Report receives events; it is called without a lock, from any
// goroutine.
func New(ctx context.Context, report func(Event)) *Scheduler {
	return &Scheduler{ctx: ctx, origin: time.Now(), phase: rand.Float64(), report: report, wake: make(chan struct{}, 1)}
}

func (s *Scheduler) now() time.Duration { return time.Since(s.origin) }

// Add adds a task, and primes it.
func (s *Scheduler) Add(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		t.retire()
		return
	}
	t.stats.Name, t.stats.Interval = t.Name, t.Interval
	t.next = s.first(t, s.now())
	s.tasks = append(s.tasks, t)
	if t.Prime != nil {
		s.launch(s.ctx, t, func(context.Context) error { t.Prime(); return nil }, false)
	}
	s.rearm()
}

// Remove removes a task, unless it is removed already. It ends the context of a run
// under way, and does not wait for the run.
func (s *Scheduler) Remove(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.tasks, t); i >= 0 {
		s.tasks = slices.Delete(s.tasks, i, i+1)
		s.gone.skipped += t.stats.Skipped
		s.gone.failures += t.stats.Failures
		t.retire()
		s.rearm()
	}
}

// retire ends a task, unless it is ended already. The caller holds the mutex.
func (t *Task) retire() {
	if t.removed {
		return
	}
	t.removed = true
	if t.done != nil {
		t.cancel(nil)
	} else if t.Close != nil {
		t.Close()
	}
}

// Removed reports whether a task has been removed.
func (s *Scheduler) Removed(t *Task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.removed
}

// Start runs the tasks with an interval when they are due, until ctx or the scheduler
// ends. The error is [ErrStarted], or the cause of the end of the scheduler.
func (s *Scheduler) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case s.started != nil && s.started.Err() == nil:
		return ErrStarted
	case s.started != nil:
		s.stop()
	}
	s.started, s.stop = s.Bound(ctx)
	now := s.now()
	for _, t := range s.tasks {
		t.next = s.first(t, now)
	}
	s.rearm()
	return nil
}

// Bound returns a context that also ends when the scheduler ends, with the same cause.
func (s *Scheduler) Bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Wake makes the scheduler ask [Task.Due] again.
func (s *Scheduler) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rearm()
}

// rearm makes the loop compute the next due time again, and starts the loop if
// necessary. The caller holds the mutex.
func (s *Scheduler) rearm() {
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
	if !s.looping && s.needed() && s.ctx.Err() == nil {
		s.looping, s.used = true, true
		s.busy.Go(s.loop)
	}
}

// needed reports whether a task can become due. The caller holds the mutex.
func (s *Scheduler) needed() bool {
	return s.started != nil || slices.ContainsFunc(s.tasks, func(t *Task) bool { return t.Due != nil && !t.Due().IsZero() })
}

// loop starts the tasks that are due, while any can become due.
func (s *Scheduler) loop() {
	for {
		next, ended, ok := s.turn()
		if !ok {
			return
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ended:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// turn starts the tasks that are due. It returns the time until the next is due, and a
// channel that is closed when Start's context ends; false ends the loop.
func (s *Scheduler) turn() (next time.Duration, ended <-chan struct{}, ok bool) {
	s.mu.Lock()
	if s.started != nil && s.started.Err() != nil {
		s.stop()
		s.started = nil
	}
	if s.ctx.Err() != nil || !s.needed() {
		s.looping = false
		s.mu.Unlock()
		return 0, nil, false
	}
	now := s.now()
	var skipped []*Task
	if s.started != nil {
		var due []*Task
		due, skipped = s.due(now, true)
		for _, t := range due {
			s.launchRun(s.started, t, t.Run)
		}
		ended = s.started.Done()
	}
	next = never
	for _, t := range s.tasks {
		switch {
		case t.Due != nil:
			if t.done != nil { // its end wakes the loop
				continue
			}
			if at := t.Due(); at.IsZero() {
				continue
			} else if left := time.Until(at); left > 0 {
				next = min(next, left)
				continue
			}
			s.launch(s.ctx, t, t.Run, false)
		case s.started != nil:
			next = min(next, t.next-now)
		}
	}
	s.mu.Unlock()
	for _, t := range skipped {
		s.report(Event{Kind: Skipped, Task: t.Name})
	}
	return next, ended, true
}

// slot returns when a task is due after now.
func (s *Scheduler) slot(t *Task, now time.Duration) time.Duration {
	offset := time.Duration(s.phase*float64(t.Interval)) + t.Shift
	next := now - (now-offset)%t.Interval
	if next <= now {
		next += t.Interval
	}
	return next
}

// first returns the first slot of a task that begins now. It leaves out a slot that is
// close, since there is nothing to measure yet.
func (s *Scheduler) first(t *Task, now time.Duration) time.Duration {
	if t.final || t.Due != nil {
		return never
	}
	next := s.slot(t, now)
	if next-now < t.Interval/10 {
		next += t.Interval
	}
	return next
}

// due returns the tasks with an interval that are due and not running, and the tasks
// whose first skipped run is to be reported. With late, it counts missed slots. The
// caller holds the mutex.
func (s *Scheduler) due(now time.Duration, late bool) (due, skipped []*Task) {
	for _, t := range s.tasks {
		if t.next > now {
			continue
		}
		if late {
			t.stats.Skipped += uint64((now - t.next) / t.Interval)
		}
		t.next = s.slot(t, now)
		if t.done == nil {
			due = append(due, t)
			continue
		}
		t.stats.Skipped++
		if !t.noted {
			t.noted = true
			skipped = append(skipped, t)
		}
	}
	return due, skipped
}

// limit returns the time limit of a run.
func (t *Task) limit() time.Duration {
	if t.final || t.Due != nil {
		return unlimited
	}
	return t.Interval
}

// launchRun starts a run with the task's time limit, and counts it. The caller holds
// the mutex.
func (s *Scheduler) launchRun(ctx context.Context, t *Task, run func(context.Context) error) {
	ctx, stop := context.WithTimeout(ctx, t.limit())
	s.launch(ctx, t, func(ctx context.Context) error {
		defer stop()
		return run(ctx)
	}, true)
}

// launch calls f in a goroutine of its own, for a task that is not running. The caller
// holds the mutex.
func (s *Scheduler) launch(ctx context.Context, t *Task, f func(context.Context) error, counted bool) {
	if s.ctx.Err() != nil {
		return // Close may be waiting already
	}
	done := make(chan struct{})
	t.done, s.used = done, true
	ctx, t.cancel = context.WithCancelCause(ctx)
	start := s.now()
	t.deadline = start + t.limit()
	s.busy.Go(func() {
		defer close(done)
		// The rest is deferred, since f may end the goroutine.
		err := ErrExited
		defer func() { s.ended(ctx, t, start, err, counted) }()
		err = safely(func() error { return f(ctx) })
	})
}

// safely turns a panic into an error.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// ended records the end of a run.
func (s *Scheduler) ended(ctx context.Context, t *Task, start time.Duration, err error, counted bool) {
	s.mu.Lock()
	superseded := context.Cause(ctx) == errSuperseded
	t.cancel(nil)
	t.done, t.noted = nil, false
	var ev *Event
	switch {
	case superseded:
		t.err = nil
	case counted:
		ev = s.count(t, s.now()-start, err)
	}
	if t.removed && t.Close != nil {
		t.Close()
	}
	if t.Due != nil {
		s.rearm()
	}
	s.mu.Unlock()
	if ev != nil {
		s.report(*ev) // without the mutex: a logger may block, or call Stats
	}
}

// count adds a run to the statistics, and returns an event or nil. The caller
// holds the mutex.
func (s *Scheduler) count(t *Task, took time.Duration, err error) *Event {
	t.err, t.ended = err, s.now()
	if t.removed {
		t.err = nil // no caller waits for it
	}
	if t.removed || s.ctx.Err() != nil {
		return nil // the run was cancelled; it did not fail
	}
	t.stats.Runs++
	t.stats.Took = took
	before := t.failures
	if err == nil {
		t.failures, t.stats.LastError = 0, ""
		if before == 0 {
			return &Event{Kind: Done, Task: t.Name, Took: took}
		}
		return &Event{Kind: Recovered, Task: t.Name, Failures: before}
	}
	t.failures++
	t.stats.Failures++
	t.stats.LastError = err.Error()
	if before > 0 || t.final { // the caller of RunFinal has the error
		return nil
	}
	return &Event{Kind: Failed, Task: t.Name, Err: err}
}

// Stats returns the statistics of each task that has an interval.
func (s *Scheduler) Stats() []Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Stats
	for _, t := range s.tasks {
		if t.Due != nil {
			continue
		}
		stats := t.stats
		stats.Busy = t.done != nil
		if s.started != nil {
			stats.Next = time.Now().Add(t.next - s.now())
		}
		all = append(all, stats)
	}
	return all
}

// Totals returns how many runs were skipped and failed, over all tasks including removed
// ones.
func (s *Scheduler) Totals() (skipped, failures uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	skipped, failures = s.gone.skipped, s.gone.failures
	for _, t := range s.tasks {
		skipped += t.stats.Skipped
		failures += t.stats.Failures
	}
	return skipped, failures
}

// Close waits for runs, half a second at most. The scheduler's context must have ended.
func (s *Scheduler) Close() {
	s.mu.Lock()
	for _, t := range s.tasks {
		t.retire()
	}
	used := s.used
	s.mu.Unlock()
	if !used {
		return
	}
	idle := make(chan struct{})
	go func() {
		s.busy.Wait()
		close(idle)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
