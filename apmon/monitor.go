package apmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/procinfo/workdir"
)

// DefaultMonitorCluster is the cluster of the reports on the host.
const DefaultMonitorCluster = "ApMon_SysMon"

// ErrMonitoring: monitoring runs already.
var ErrMonitoring = errors.New("apmon: monitoring runs already")

// Monitor reports in the background, until ctx ends or the client is closed: on
// this host, as the configurations tell, unless [WithoutHost] leaves it out, and on
// what was added with [Client.AddSource] and [Client.AddJob]. It returns at once;
// the error is [ErrClosed] or [ErrMonitoring].
//
// The first sample is taken now, so that the first report has rates; that one
// follows after a random part of the interval, so that a farm that is switched
// on does not report in step. From then on reports are due at equal distances.
// One that is due while the same source still collects for the one before is
// skipped, and counted: see [Stats.Reports]. Sources do not wait for each other.
func (c *Client) Monitor(ctx context.Context) error { return c.monitor.start(ctx) }

// When tells [Client.Report] what to report.
type When int

const (
	// Due is what is due by its interval.
	Due When = iota
	// Now is everything, whether due or not.
	Now
)

// Report reports in the foreground, and returns when that is done or ctx has
// ended. It is for programs that let nothing run in the background (they call
// it with [Due] every now and then), and for a last or only report ([Now]). Its
// first call takes the first sample of the host, the basis for rates.
//
// The error joins those of sending and those of the sources.
func (c *Client) Report(ctx context.Context, when When) error {
	return c.monitor.report(ctx, when)
}

// ReportStats is what is known of the reports of one source.
type ReportStats struct {
	Name      string        // "host", or the source's
	Interval  time.Duration // between two reports
	Next      time.Time     // when the next is due, while the monitor runs
	Reports   uint64        // made
	Skipped   uint64        // not made, as the one before was still under way
	Failures  uint64        // of the reports made: not all could be collected or sent
	LastError string        // of the last report; empty if that was good
	Took      time.Duration // to collect and send the last one
	Busy      bool          // one is under way
}

// monitor is the background part of a client: what is reported, and when.
type monitor struct {
	c *Client
	// phase shifts the moments at which reports are due, as part of each
	// interval: the same for all, so that sources of one interval are read in
	// one go and the processor is woken once.
	phase float64

	mu        sync.Mutex
	tasks     []*task
	begun     bool                // the host is being monitored
	processes *procinfo.Processes // that the host and the jobs share; see scan
	procs     *jobtree.Set        // nil before the first job
	dirs      *workdir.Dirs       // likewise
	jobs      []*MonitoredJob
	added     int                                // jobs so far
	running   context.Context                    // of the loop; nil while there is none
	stopped   chan struct{}                      // closed when that has ended
	gone      struct{ skipped, failures uint64 } // of tasks that were removed

	lostNoted noted         // last reports of jobs
	wake      chan struct{} // what is due next has changed
	busy      sync.WaitGroup
	started   bool // busy has ever counted a goroutine
}

// task is something that is reported again and again.
type task struct {
	name     string
	interval time.Duration
	// run collects and sends. Full asks for everything there is.
	run func(ctx context.Context, full bool) error
	// prime, if there is one, is called once before the first run.
	prime func()
	close func() // nil, or called when it is removed and has ended
	group *group // of the host's and the jobs' tasks
	job   *MonitoredJob
	// report of a job's task is run, with more parameters.
	report func(ctx context.Context, more []Param) error
	shift  time.Duration // of its slots against those of others

	removed atomic.Bool
	ending  bool                    // the last report of its job is due, and no other
	cancel  context.CancelCauseFunc // ends the context of the run
	next    time.Duration           // on the client's clock
	done    chan struct{}           // while it runs: closed at the end
	until   time.Duration           // on the client's clock: when the run should have ended
	err     error                   // of the last run
	last    time.Duration           // on the client's clock: its end
	inRow   int                     // failures since the last success
	told    bool                    // that it is skipped
	stats   ReportStats
}

// limit is how long a report may take: until the next is due. The last report of
// a job has no next, and waits for the rate limit however long that takes.
func (t *task) limit() time.Duration {
	if t.ending {
		return maxInterval
	}
	return t.interval
}

// slot is when a task is due after now.
func (m *monitor) slot(t *task, now time.Duration) time.Duration {
	offset := time.Duration(m.phase*float64(t.interval)) + t.shift
	next := now - (now-offset)%t.interval
	if next <= now {
		next += t.interval
	}
	return next
}

// first is the first slot of a task that begins now. One that is close is passed
// over: what just begins would have little to tell.
func (m *monitor) first(t *task, now time.Duration) time.Duration {
	if t.ending {
		return never
	}
	next := m.slot(t, now)
	if next-now < t.interval/10 {
		next += t.interval
	}
	return next
}

func (m *monitor) add(t *task) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(t)
	m.rearm()
}

func (m *monitor) addLocked(t *task) {
	t.stats.Name = t.name
	t.next = m.first(t, m.c.now())
	m.tasks = append(m.tasks, t)
	if t.prime != nil {
		m.launch(m.c.ctx, t, func(context.Context) error { t.prime(); return nil }, nil)
	}
}

// rearm has the loop look anew at what is due. The caller holds m.mu.
func (m *monitor) rearm() {
	select {
	case m.wake <- struct{}{}:
	default: // it has been told already
	}
}

func (m *monitor) remove(t *task) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(t)
	m.rearm()
}

func (m *monitor) removeLocked(t *task) {
	if i := slices.Index(m.tasks, t); i >= 0 {
		m.tasks = slices.Delete(m.tasks, i, i+1)
		m.gone.skipped += t.stats.Skipped
		m.gone.failures += t.stats.Failures
		m.retire(t)
	}
}

// retire ends a task, once it no longer runs. The caller holds m.mu.
func (m *monitor) retire(t *task) {
	t.removed.Store(true)
	if t.done != nil {
		t.cancel(nil)
	} else if t.close != nil {
		t.close()
	}
}

// start is [Client.Monitor].
func (m *monitor) start(ctx context.Context) error {
	ctx, stop := m.c.untilClosed(ctx)
	m.mu.Lock()
	for m.running != nil && m.running.Err() != nil { // it is about to end
		stopped := m.stopped
		m.mu.Unlock()
		<-stopped
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	switch {
	case m.c.ctx.Err() != nil:
		stop()
		return ErrClosed
	case m.running != nil:
		stop()
		return ErrMonitoring
	}
	m.running, m.stopped = ctx, make(chan struct{})
	m.started = true
	now := m.c.now()
	for _, t := range m.tasks {
		t.next = m.first(t, now)
	}
	m.begin()
	m.busy.Go(func() {
		defer stop()
		m.loop(ctx)
	})
	return nil
}

// loop starts what is due, until ctx ends.
func (m *monitor) loop(ctx context.Context) {
	for {
		m.mu.Lock()
		now := m.c.now()
		due, skipped := m.due(now, true)
		for _, t := range due {
			m.launchRun(ctx, t, func(ctx context.Context) error { return t.run(ctx, false) })
		}
		next := never
		for _, t := range m.tasks {
			next = min(next, t.next-now)
		}
		m.mu.Unlock()
		for _, t := range skipped {
			m.c.opt.logger.LogAttrs(ctx, slog.LevelWarn, "report skipped, the one before is still under way", slog.String("source", t.name))
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-m.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			m.mu.Lock()
			m.running = nil
			close(m.stopped)
			m.mu.Unlock()
			return
		}
	}
}

// due returns what is due and does not run, and of what runs still what is to be
// told of. Late counts what was due in between. The caller holds m.mu.
func (m *monitor) due(now time.Duration, late bool) (due, skipped []*task) {
	for _, t := range m.tasks {
		if t.next > now {
			continue
		}
		if late { // as after a long pause; it is not made up for
			t.stats.Skipped += uint64((now - t.next) / t.interval)
		}
		t.next = m.slot(t, now)
		if t.done == nil {
			due = append(due, t)
			continue
		}
		t.stats.Skipped++
		if !t.told {
			t.told = true
			skipped = append(skipped, t)
		}
	}
	return due, skipped
}

// launchRun starts a report, which should keep to its limit. The caller holds
// m.mu.
func (m *monitor) launchRun(ctx context.Context, t *task, run func(context.Context) error) {
	ctx, stop := context.WithTimeout(ctx, t.limit())
	m.launch(ctx, t, func(ctx context.Context) error {
		defer stop()
		return run(ctx)
	}, m.ended)
}

// errSuperseded ends a report that gives way to the last one of its job.
var errSuperseded = errors.New("the last report follows")

// launch runs f for a task that does not run, in a goroutine of its own: one that
// hangs in there hangs alone. The caller holds m.mu, and so does ended, which
// may return something to be done without it.
func (m *monitor) launch(ctx context.Context, t *task, f func(context.Context) error, ended func(t *task, took time.Duration, err error) func()) {
	if m.c.ctx.Err() != nil {
		return // Close waits already
	}
	done := make(chan struct{})
	t.done, m.started = done, true
	ctx, t.cancel = context.WithCancelCause(ctx)
	start := m.c.now()
	t.until = start + t.limit()
	m.busy.Go(func() {
		defer close(done)
		// Deferred, since f may end the goroutine; err is that of one that does.
		err := errExited
		defer func() {
			m.mu.Lock()
			superseded := context.Cause(ctx) == errSuperseded
			t.cancel(nil)
			t.done, t.told = nil, false
			then := func() {}
			switch {
			case superseded:
				t.err = nil
			case ended != nil:
				then = ended(t, m.c.now()-start, err)
			}
			if t.removed.Load() && t.close != nil {
				t.close()
			}
			m.mu.Unlock()
			then() // a logger may take its time, or ask us something
		}()
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

// ended notes what came of a report, and returns what logs it. The caller holds
// m.mu.
func (m *monitor) ended(t *task, took time.Duration, err error) (log func()) {
	t.err, t.last = err, m.c.now()
	if t.removed.Load() {
		t.err = nil // nobody expects it any more
	}
	if m.c.ctx.Err() != nil || t.removed.Load() {
		return func() {} // it was ended: nothing failed
	}
	logger := m.c.opt.logger
	t.stats.Reports++
	t.stats.Took = took
	inRow := t.inRow
	if err == nil {
		t.inRow, t.stats.LastError = 0, ""
		if inRow == 0 {
			return func() {
				logger.LogAttrs(context.Background(), slog.LevelDebug, "report made", slog.String("source", t.name), slog.Duration("took", took))
			}
		}
		return func() {
			logger.LogAttrs(context.Background(), slog.LevelInfo, "report made again", slog.String("source", t.name), slog.Int("failed", inRow))
		}
	}
	t.stats.Failures++
	t.stats.LastError = err.Error()
	t.inRow++
	if inRow > 0 || t.ending { // the caller of the last report logs it
		return func() {}
	}
	return func() {
		logger.LogAttrs(context.Background(), slog.LevelWarn, "report not made, or not whole", slog.String("source", t.name), slog.String("error", err.Error()))
	}
}

// report is [Client.Report].
func (m *monitor) report(ctx context.Context, when When) error {
	ctx, stop := m.c.untilClosed(ctx)
	defer stop()
	m.mu.Lock()
	if m.c.ctx.Err() != nil {
		m.mu.Unlock()
		return ErrClosed
	}
	first := !m.begun
	m.begin()
	tasks := slices.Clone(m.tasks)
	if when == Now {
		m.mu.Unlock()
		return m.runNow(ctx, tasks, false, func(ctx context.Context, t *task) error { return t.run(ctx, true) })
	}
	due, _ := m.due(m.c.now(), false) // who calls seldom misses nothing
	for _, t := range due {
		m.launchRun(ctx, t, func(ctx context.Context) error { return t.run(ctx, false) })
	}
	m.mu.Unlock()
	if first {
		for _, t := range tasks { // the first samples
			if err := m.wait(ctx, t); err != nil {
				return err
			}
		}
	}
	return m.await(ctx, due, nil)
}

// runNow runs tasks, and returns when that is done or ctx has ended. It waits for
// those that run already: what they collect may be of before. Those that are
// ending it runs for the last report only, and otherwise just waits for that.
func (m *monitor) runNow(ctx context.Context, tasks []*task, last bool, run func(context.Context, *task) error) error {
	ctx, stop := m.c.untilClosed(ctx)
	defer stop()
	var started, busy []*task
	launch := func(t *task) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case t.removed.Load():
		case t.done != nil:
			return false
		case t.ending && !last:
		default:
			m.launchRun(ctx, t, func(ctx context.Context) error { return run(ctx, t) })
			started = append(started, t)
		}
		return true
	}
	for _, t := range tasks {
		if !launch(t) {
			busy = append(busy, t)
		}
	}
	var errs []error
	for _, t := range busy {
		var err error
		for err == nil && !launch(t) { // another that waited may have been the first
			err = m.wait(ctx, t)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return m.await(ctx, started, errs)
}

// await waits for tasks and joins their errors, each once, with others.
func (m *monitor) await(ctx context.Context, started []*task, errs []error) error {
	for _, t := range started {
		err := m.wait(ctx, t)
		if err == nil {
			m.mu.Lock()
			err = t.err
			m.mu.Unlock()
		}
		if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// wait waits until a task no longer runs. One that is overdue hangs, and is not
// waited for.
func (m *monitor) wait(ctx context.Context, t *task) error {
	m.mu.Lock()
	done, left := t.done, t.until-m.c.now()
	m.mu.Unlock()
	if done == nil {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("apmon: source %s does not return", t.name)
	case <-ctx.Done():
		return fmt.Errorf("apmon: source %s: %w", t.name, context.Cause(ctx))
	}
}

// stats returns what is known of each source.
func (m *monitor) stats() []ReportStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []ReportStats
	for _, t := range m.tasks {
		s := t.stats
		s.Busy, s.Interval = t.done != nil, t.interval
		if m.running != nil {
			s.Next = time.Now().Add(t.next - m.c.now())
		}
		all = append(all, s)
	}
	return all
}

// closeTimeout is how long Close waits for sources that are collecting.
const closeTimeout = 500 * time.Millisecond

// lastJobReports reports every job, unless that has just been done.
func (m *monitor) lastJobReports() {
	const justNow = time.Second
	m.mu.Lock()
	now := m.c.now()
	var tasks []*task
	for _, t := range m.tasks {
		if t.job != nil && (t.stats.Reports == 0 || now-t.last > justNow) {
			tasks = append(tasks, t)
		}
	}
	m.mu.Unlock()
	if len(tasks) == 0 {
		return
	}
	ctx, stop := context.WithTimeout(m.c.ctx, closeTimeout)
	defer stop()
	// The tasks note what fails, and log it.
	_ = m.runNow(ctx, tasks, false, func(ctx context.Context, t *task) error { return t.run(ctx, true) })
}

// end takes the tasks of a job that it has not taken before off the schedule, so
// that the last report is their next one, and returns them.
func (m *monitor) end(j *MonitoredJob) (tasks []*task) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range j.tasks {
		if t.ending || t.removed.Load() {
			continue
		}
		t.ending, t.next = true, never
		if t.done != nil {
			t.cancel(errSuperseded)
		}
		tasks = append(tasks, t)
	}
	return tasks
}

// lost logs that the last report of a job was not sent: of many jobs that end
// together, one line a minute.
func (m *monitor) lost(node string, err error) {
	m.mu.Lock()
	more, pass := m.lostNoted.pass(m.c.now())
	m.mu.Unlock()
	if !pass {
		return
	}
	m.c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "last report of a job not sent, or not whole",
		append([]slog.Attr{slog.String("node", node), slog.String("error", err.Error())}, repeated(more)...)...)
}

// close waits for what runs, after the client's context has ended. What hangs
// is left to itself.
func (m *monitor) close() {
	m.mu.Lock()
	for _, t := range m.tasks {
		m.retire(t)
	}
	procs, dirs := m.procs, m.dirs
	started, scan := m.started, m.processes
	m.mu.Unlock()
	if procs != nil {
		procs.Close()
		dirs.Close()
	}
	if !started {
		return
	}
	idle := make(chan struct{})
	go func() {
		m.busy.Wait()
		if scan != nil {
			scan.Close()
		}
		close(idle)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
