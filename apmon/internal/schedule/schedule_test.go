package schedule

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errClosed = errors.New("closed")

// bubble runs f with a scheduler in simulated time, and closes it. Events
// returns the kinds reported so far for a task.
func bubble(t *testing.T, f func(t *testing.T, s *Scheduler, events func(task string) []EventKind)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		reported := make(chan Event, 1000)
		s := New(ctx, func(e Event) { reported <- e })
		var all []Event
		f(t, s, func(task string) (kinds []EventKind) {
			for len(reported) > 0 {
				all = append(all, <-reported)
			}
			for _, e := range all {
				if e.Task == task {
					kinds = append(kinds, e.Kind)
				}
			}
			return kinds
		})
		cancel(errClosed)
		s.Close()
	})
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// counter counts runs.
type counter struct {
	runs atomic.Int32
	do   func(ctx context.Context) error
}

func (c *counter) run(ctx context.Context) error {
	c.runs.Add(1)
	if c.do != nil {
		return c.do(ctx)
	}
	return nil
}

func TestRunsAtEqualDistances(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		var at []time.Time
		s.Add(&Task{Name: "a", Interval: time.Minute, Run: func(context.Context) error { at = append(at, time.Now()); return nil }})
		time.Sleep(time.Hour)
		equal(t, "runs before Start", len(at), 0)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != ErrStarted {
			t.Errorf("second Start: %v", err)
		}
		time.Sleep(10*time.Minute + time.Minute/10)
		synctest.Wait()
		if len(at) < 9 || len(at) > 10 {
			t.Errorf("%d runs", len(at))
		}
		for i := 1; i < len(at); i++ {
			equal(t, "distance", at[i].Sub(at[i-1]), time.Minute)
		}
	})
}

func TestShiftSeparatesTasks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		now := s.now()
		a, b := &Task{Interval: time.Hour}, &Task{Interval: time.Hour, Shift: 3 * time.Second}
		equal(t, "distance of slots", (s.slot(b, now)-s.slot(a, now)+time.Hour)%time.Hour, 3*time.Second)
	})
}

// TestPauseIsNotMadeUpFor: after a suspended hour, one run is due, and the missed ones
// are counted.
func TestPauseIsNotMadeUpFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		s.Add(&Task{Interval: time.Minute, Run: (&counter{}).run})
		s.mu.Lock()
		defer s.mu.Unlock()
		now := s.tasks[0].next + time.Hour + time.Second
		due, _ := s.due(now, true)
		equal(t, "due", len(due), 1)
		equal(t, "skipped", s.tasks[0].stats.Skipped, 60)
		equal(t, "the next one", s.tasks[0].next-now, 59*time.Second)
		due, _ = s.due(now, true)
		equal(t, "due again", len(due), 0)
	})
}

// TestFailuresAreCounted: an error, a panic and an ended goroutine are failures. The
// first failure in a row is an event.
func TestFailuresAreCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail func(context.Context) error
		text string
	}{
		"error":  {func(context.Context) error { return errors.New("bad") }, "bad"},
		"panic":  {func(context.Context) error { panic("ouch") }, "panic: ouch"},
		"goexit": {func(context.Context) error { runtime.Goexit(); return nil }, "Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *Scheduler, events func(string) []EventKind) {
				bad := counter{do: c.fail}
				task := &Task{Name: "a", Interval: time.Minute, Run: func(ctx context.Context) error { return bad.run(ctx) }}
				s.Add(task)
				for range 2 {
					if err := s.RunAll(t.Context()); err == nil || !strings.Contains(err.Error(), c.text) {
						t.Errorf("got %v", err)
					}
				}
				if st := s.Stats()[0]; st.Runs != 2 || st.Failures != 2 || !strings.Contains(st.LastError, c.text) {
					t.Errorf("%+v", st)
				}
				bad.do = nil
				for range 2 {
					if err := s.RunNow(t.Context(), Run{Task: task}); err != nil {
						t.Error(err)
					}
				}
				kinds := events("a")
				if len(kinds) != 3 || kinds[0] != Failed || kinds[1] != Recovered || kinds[2] != Done {
					t.Errorf("events %v", kinds)
				}
				s.Remove(task)
				_, failures := s.Totals()
				equal(t, "failures after removal", failures, 2)
			})
		})
	}
}

// TestHungTaskIsSkipped: a task that ignores its context is skipped and counted, with
// one event, and the others continue.
func TestHungTaskIsSkipped(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, events func(string) []EventKind) {
		release := make(chan struct{})
		var good counter
		s.Add(&Task{Name: "hung", Interval: time.Minute, Run: func(context.Context) error { <-release; return nil }})
		s.Add(&Task{Name: "good", Interval: time.Minute, Run: good.run})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute + time.Minute/10)
		if n := good.runs.Load(); n < 9 {
			t.Errorf("%d runs of the good task", n)
		}
		if st := s.Stats()[0]; !st.Busy || st.Skipped < 8 {
			t.Errorf("%+v", st)
		}
		if kinds := events("hung"); len(kinds) != 1 || kinds[0] != Skipped {
			t.Errorf("events %v", kinds)
		}
		if err := s.RunNow(t.Context(), Run{Task: s.tasks[0]}); err == nil || !strings.Contains(err.Error(), "does not return") {
			t.Errorf("RunNow: %v", err)
		}
		close(release)
	})
}

// TestDueRunsWithoutStart: a task with Due runs at the times that it returns, whether
// the scheduler is started or not. No goroutine waits while there is no such time.
func TestDueRunsWithoutStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		var due atomic.Pointer[time.Time]
		due.Store(&time.Time{})
		set := func(at time.Time) { due.Store(&at) }
		var c counter
		c.do = func(context.Context) error {
			if c.runs.Load() < 3 {
				set(time.Now().Add(time.Minute))
			} else {
				set(time.Time{})
			}
			return nil
		}
		s.Add(&Task{Due: func() time.Time { return *due.Load() }, Run: c.run})
		looping := func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.looping }
		equal(t, "goroutine before", looping(), false)
		set(time.Now().Add(time.Hour))
		s.Wake()
		time.Sleep(time.Hour - time.Second)
		equal(t, "runs before the time", c.runs.Load(), 0)
		time.Sleep(2 * time.Second)
		equal(t, "runs", c.runs.Load(), 1)
		time.Sleep(time.Hour)
		equal(t, "runs at the end", c.runs.Load(), 3)
		equal(t, "goroutine afterwards", looping(), false)
		equal(t, "statistics", len(s.Stats()), 0)
		if err := s.RunAll(t.Context()); err != nil {
			t.Error(err)
		}
		equal(t, "runs after RunAll", c.runs.Load(), 3)
	})
}

func TestOnDemand(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		var asked []bool
		task := &Task{Interval: time.Minute, Run: func(ctx context.Context) error { asked = append(asked, OnDemand(ctx)); return nil }}
		s.Add(task)
		if err := s.RunNow(t.Context(), Run{Task: task}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := s.RunDue(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if len(asked) != 2 || !asked[0] || asked[1] {
			t.Errorf("on demand: %v", asked)
		}
	})
}

// TestFinalRun: the final run replaces a run under way, which does not count as a
// failure, and no run follows.
func TestFinalRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *Scheduler, _ func(string) []EventKind) {
		slow := counter{do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		task := &Task{Interval: time.Minute, Run: slow.run}
		s.Add(task)
		before := make(chan error, 1)
		go func() { before <- s.RunNow(t.Context(), Run{Task: task}) }()
		synctest.Wait()
		if !s.Finish(task) || s.Finish(task) {
			t.Error("Finish reserved the task twice")
		}
		var final counter
		if err := s.RunFinal(t.Context(), Run{task, final.run}); err != nil {
			t.Error(err)
		}
		if err := <-before; err != nil {
			t.Errorf("the run before: %v", err)
		}
		if err := s.RunAll(t.Context()); err != nil {
			t.Error(err)
		}
		equal(t, "runs", slow.runs.Load(), 1)
		equal(t, "final runs", final.runs.Load(), 1)
		_, failures := s.Totals()
		equal(t, "failures", failures, 0)
		equal(t, "ran just now", s.RanWithin(task, time.Second), true)
	})
}

// TestClosedScheduler: the error is the cause of its end, and a task that is added later
// is closed at once.
func TestClosedScheduler(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	s := New(ctx, func(Event) {})
	var closed atomic.Int32
	s.Add(&Task{Interval: time.Hour, Close: func() { closed.Add(1) }, Run: (&counter{}).run})
	cancel(errClosed)
	s.Close()
	s.Add(&Task{Interval: time.Hour, Close: func() { closed.Add(1) }, Run: (&counter{}).run})
	equal(t, "closed", closed.Load(), 2)
	for _, err := range []error{s.Start(t.Context()), s.RunAll(t.Context()), s.RunDue(t.Context(), true)} {
		if err != errClosed {
			t.Errorf("got %v", err)
		}
	}
}
