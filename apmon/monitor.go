package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
)

// DefaultMonitorCluster is the cluster of the reports on the host.
const DefaultMonitorCluster = "ApMon_SysMon"

// ErrMonitoring: monitoring runs already.
var ErrMonitoring = errors.New("apmon: monitoring runs already")

// Source adds parameters to a report whenever the monitor asks for one, see
// [Client.AddSource].
//
// Collect appends to params and returns the result; what it has appended is
// sent even if it returns an error. It is never called twice at a time. The
// context ends when the next report is due: a source that does not return
// until then misses it, and only it.
type Source interface {
	Collect(ctx context.Context, params []Param) ([]Param, error)
}

// SourceOptions say how a source is reported.
type SourceOptions struct {
	Name     string        // in [Stats] and in the log
	Cluster  string        // empty for the client's default
	Node     string        // empty for the client's default
	Interval time.Duration // between two reports; 0 for 120 s
}

// Monitored is a source that is reported in the background.
type Monitored struct {
	m *monitor
	t *task
}

// Messenger is a source that reports on more than one node, or with times of its
// own, see [Client.AddMessenger].
//
// Messages calls send for each message; empty names are those of the
// [SourceOptions]. An error of send says what became of that message, and need
// not end the report. The rest is as for [Source].
type Messenger interface {
	Messages(ctx context.Context, send func(Message) error) error
}

// AddSource has a source reported at its interval, to all destinations, while
// [Client.Monitor] runs, and by [Client.Report]. The error is one of the
// options'.
func (c *Client) AddSource(s Source, o SourceOptions) (*Monitored, error) {
	if s == nil {
		return nil, errors.New("apmon: nil source")
	}
	var params []Param
	return c.addMessenger(fmt.Sprintf("%T", s), messenger(func(ctx context.Context, send func(Message) error) error {
		var err error
		params, err = s.Collect(ctx, params[:0])
		return errors.Join(err, send(Message{Params: params}))
	}), o)
}

// AddMessenger is [Client.AddSource] for a [Messenger].
func (c *Client) AddMessenger(s Messenger, o SourceOptions) (*Monitored, error) {
	if s == nil {
		return nil, errors.New("apmon: nil source")
	}
	return c.addMessenger(fmt.Sprintf("%T", s), s, o)
}

type messenger func(ctx context.Context, send func(Message) error) error

func (f messenger) Messages(ctx context.Context, send func(Message) error) error { return f(ctx, send) }

func (c *Client) addMessenger(name string, s Messenger, o SourceOptions) (*Monitored, error) {
	if o.Name == "" {
		o.Name = name
	}
	if o.Interval < 0 {
		return nil, fmt.Errorf("apmon: source %s: interval of %v", o.Name, o.Interval)
	}
	if err := c.Check(Message{Cluster: o.Cluster, Node: o.Node}); err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	t := &task{name: o.Name, interval: orDefault(o.Interval)}
	t.run = func(ctx context.Context, _ bool) error {
		return s.Messages(ctx, func(m Message) error {
			if t.removed.Load() {
				return nil
			}
			m.Cluster, m.Node = cmp.Or(m.Cluster, o.Cluster), cmp.Or(m.Node, o.Node)
			return c.sendReport(ctx, nil, m)
		})
	}
	c.monitor.add(t)
	return &Monitored{&c.monitor, t}, nil
}

// Remove ends the reports. It does not wait: what is being collected is not
// sent.
func (s *Monitored) Remove() { s.m.remove(s.t) }

// Report reports the source now, and returns when that is done, ctx has ended, or
// the source has taken longer than its interval. The errors are those of
// [Client.Report]; a source that was removed is not reported.
func (s *Monitored) Report(ctx context.Context) error {
	m, t := s.m, s.t
	ctx, stop := m.c.untilClosed(ctx)
	defer stop()
	// What it collects now may be of before.
	if err := m.wait(ctx, t); err != nil {
		return err
	}
	m.mu.Lock()
	if m.c.ctx.Err() != nil {
		m.mu.Unlock()
		return ErrClosed
	}
	if t.removed.Load() {
		m.mu.Unlock()
		return nil
	}
	if t.done == nil {
		m.launchRun(ctx, t, true)
	}
	m.mu.Unlock()
	if err := m.wait(ctx, t); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return t.err
}

// orDefault is an interval, or else the default one.
func orDefault(interval time.Duration) time.Duration {
	if interval <= 0 {
		return conf.DefaultInterval
	}
	return interval
}

// sendReport sends to the destinations of a group, nil for all. Nobody waits for
// it, so it waits for its turn where the client's limit of messages is reached.
func (c *Client) sendReport(ctx context.Context, only *group, m Message) error {
	if len(m.Params) == 0 {
		return nil
	}
	policy := Wait
	if c.opt.policy == Off {
		policy = Off
	}
	return c.sendTo(ctx, only, policy, m.Cluster, m.Node, m.Time, m.Params)
}

// Monitor reports in the background, until ctx ends or the client is closed: on
// this host, as the configurations tell, and on what was added with
// [Client.AddSource]. It returns at once; the error is [ErrClosed] or
// [ErrMonitoring].
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

	mu      sync.Mutex
	tasks   []*task
	begun   bool // the host is being monitored
	running bool
	wake    chan struct{} // what is due next has changed
	busy    sync.WaitGroup
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
	group *group // of the host's tasks

	removed atomic.Bool
	next    time.Duration // on the client's clock
	done    chan struct{} // while it runs: closed at the end
	until   time.Duration // on the client's clock: when the run should have ended
	err     error         // of the last run
	inRow   int           // failures since the last success
	told    bool          // that it is skipped
	stats   ReportStats
}

// slot is when a task of this interval is due after now. A slot that is close
// is passed over: what just begins would have little to tell.
func (m *monitor) slot(interval, now time.Duration) time.Duration {
	offset := time.Duration(m.phase * float64(interval))
	next := now - (now-offset)%interval
	if next <= now {
		next += interval
	}
	return next
}

// first is the first slot of a task that begins now.
func (m *monitor) first(interval, now time.Duration) time.Duration {
	next := m.slot(interval, now)
	if next-now < interval/10 {
		next += interval
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
	t.next = m.first(t.interval, m.c.now())
	m.tasks = append(m.tasks, t)
	if t.prime != nil {
		m.launch(t, func() error { t.prime(); return nil }, nil)
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
		t.removed.Store(true)
		if t.done == nil && t.close != nil {
			t.close()
		}
	}
}

// start is [Client.Monitor].
func (m *monitor) start(ctx context.Context) error {
	ctx, stop := m.c.untilClosed(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.c.ctx.Err() != nil:
		stop()
		return ErrClosed
	case m.running:
		stop()
		return ErrMonitoring
	}
	m.running = true
	now := m.c.now()
	for _, t := range m.tasks {
		t.next = m.first(t.interval, now)
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
		next := m.startDue(ctx, m.c.now(), nil)
		m.mu.Unlock()
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-m.wake:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			m.mu.Lock()
			m.running = false
			m.mu.Unlock()
			return
		}
	}
}

// startDue starts what is due, appends it to started if that is not nil, and
// returns how long nothing more is. The caller holds m.mu.
func (m *monitor) startDue(ctx context.Context, now time.Duration, started *[]*task) time.Duration {
	next := never
	for _, t := range m.tasks {
		if t.next <= now {
			// Whatever lies between, as after a long pause, is not made up for.
			late := uint64((now - t.next) / t.interval)
			t.stats.Skipped += late
			t.next = m.slot(t.interval, now)
			if t.done != nil {
				m.skip(t)
			} else {
				m.launchRun(ctx, t, false)
				if started != nil {
					*started = append(*started, t)
				}
			}
		}
		next = min(next, t.next-now)
	}
	return next
}

// skip counts a report that is not made. The caller holds m.mu.
func (m *monitor) skip(t *task) {
	t.stats.Skipped++
	if !t.told {
		t.told = true
		m.c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "report skipped, the one before is still under way", slog.String("source", t.name))
	}
}

// launchRun starts a report; it should end before the next is due. The caller
// holds m.mu.
func (m *monitor) launchRun(ctx context.Context, t *task, full bool) {
	m.launch(t, func() error {
		ctx, stop := context.WithTimeout(ctx, t.interval)
		defer stop()
		return t.run(ctx, full)
	}, m.ended)
}

// launch runs f for a task that does not run, in a goroutine of its own: who
// hangs in there, hangs alone. The caller holds m.mu, and so does ended.
func (m *monitor) launch(t *task, f func() error, ended func(t *task, took time.Duration, err error)) {
	if m.c.ctx.Err() != nil {
		return // Close waits already
	}
	done := make(chan struct{})
	t.done = done
	start := m.c.now()
	t.until = start + t.interval
	m.busy.Go(func() {
		defer close(done)
		err := safely(f)
		m.mu.Lock()
		defer m.mu.Unlock()
		t.done, t.told = nil, false
		if ended != nil {
			ended(t, m.c.now()-start, err)
		}
		if t.removed.Load() && t.close != nil {
			t.close()
		}
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

// ended notes what came of a report. The caller holds m.mu.
func (m *monitor) ended(t *task, took time.Duration, err error) {
	t.err = err
	if m.c.ctx.Err() != nil {
		return // the client was closed meanwhile: nothing failed
	}
	log := m.c.opt.logger
	t.stats.Reports++
	t.stats.Took = took
	if err == nil {
		if t.inRow > 0 {
			log.LogAttrs(context.Background(), slog.LevelInfo, "report made again", slog.String("source", t.name), slog.Int("failed", t.inRow))
		}
		t.inRow, t.stats.LastError = 0, ""
		return
	}
	t.stats.Failures++
	t.stats.LastError = err.Error()
	if t.inRow++; t.inRow == 1 {
		log.LogAttrs(context.Background(), slog.LevelWarn, "report not made, or not whole", slog.String("source", t.name), slog.String("error", err.Error()))
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
	m.begin()
	var started, busy []*task
	if when == Due {
		m.startDue(ctx, m.c.now(), &started)
	} else {
		for _, t := range m.tasks {
			if t.done != nil {
				busy = append(busy, t)
				continue
			}
			m.launchRun(ctx, t, true)
			started = append(started, t)
		}
	}
	m.mu.Unlock()

	var errs []error
	for _, t := range busy {
		// What it collects now may be of before.
		if err := m.wait(ctx, t); err != nil {
			errs = append(errs, err)
			continue
		}
		m.mu.Lock()
		if t.done == nil && !t.removed.Load() {
			m.launchRun(ctx, t, true)
			started = append(started, t)
		}
		m.mu.Unlock()
	}
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
		s.Busy = t.done != nil
		all = append(all, s)
	}
	return all
}

// closeTimeout is how long Close waits for sources that are collecting.
const closeTimeout = 500 * time.Millisecond

// close waits for what runs, after the client's context has ended. What hangs
// is left to itself.
func (m *monitor) close() {
	m.mu.Lock()
	for len(m.tasks) > 0 {
		m.removeLocked(m.tasks[0])
	}
	m.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		m.busy.Wait()
		close(idle)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
