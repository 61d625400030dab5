package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apmon-go/apmon/apmon/internal/changes"
	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/conf"
)

// Source adds parameters to a report, see [Client.AddSource].
//
// Collect appends to params and returns the result, which is sent even if Collect
// returns an error. It is never called concurrently. The context ends when the next
// report is due; a source that does not return by then misses that report.
type Source interface {
	Collect(ctx context.Context, params []Param) ([]Param, error)
}

// Messenger is a source that reports on more than one node, or with times of its
// own, see [Client.AddMessenger].
//
// Messages calls send for each message. Empty names mean those of the
// [ReportOptions]. An error of send concerns that message only; the others may still
// be sent. Calls and contexts are as for [Source].
type Messenger interface {
	Messages(ctx context.Context, send func(Message) error) error
}

// ReportOptions are the settings of a source's reports.
type ReportOptions struct {
	Name     string        // in [Stats] and in the log; the source's type if empty
	Cluster  string        // the client's default if empty
	Node     string        // the client's default if empty
	Interval time.Duration // between two reports, at least 1 s; 0 for 120 s
	// ChangesOnly omits parameters of a [Source] that have not changed since the previous
	// report.
	ChangesOnly bool
	// With ChangesOnly, every RefreshEvery-th report holds all parameters; 0 for one each
	// 300 s. It must be more often than every 900 s, after which MonALISA drops a parameter
	// that is not sent.
	RefreshEvery int
}

// ReportStats holds the state and the counters of the reports of one source.
type ReportStats struct {
	Name      string        // "host …", "job …", or the source's name
	Interval  time.Duration // between two reports
	Next      time.Time     // when the next report is due, while the monitor runs
	Reports   uint64        // reports made
	Skipped   uint64        // reports not made, as the previous one was under way
	Failures  uint64        // reports made with an error of collecting or sending
	LastError string        // of the last report; empty if it succeeded
	Took      time.Duration // to collect and send the last report
	Busy      bool          // a report is under way
}

// AddSource adds a source. It is reported to all destinations: at its interval while
// [Client.Monitor] runs, and by [Client.Report]. The error names an invalid option.
func (c *Client) AddSource(s Source, o ReportOptions) (*MonitoredSource, error) {
	if s == nil {
		return nil, errors.New("apmon: nil source")
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("%T", s)
	}
	m := &collected{source: s}
	if o.ChangesOnly {
		var err error
		if m.filter, err = changes.New(o.RefreshEvery, orDefault(o.Interval)); err != nil {
			return nil, fmt.Errorf("apmon: source %s: %w", o.Name, err)
		}
		o.ChangesOnly = false
	}
	return c.AddMessenger(m, o)
}

// AddMessenger is [Client.AddSource] for a [Messenger], which sends what has changed itself.
func (c *Client) AddMessenger(m Messenger, o ReportOptions) (*MonitoredSource, error) {
	if m == nil {
		return nil, errors.New("apmon: nil source")
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("%T", m)
	}
	if o.ChangesOnly {
		return nil, fmt.Errorf("apmon: source %s: ChangesOnly of a messenger", o.Name)
	}
	t, err := c.reporter.add(m, o)
	if err != nil {
		return nil, err
	}
	return &MonitoredSource{&c.reporter, t}, nil
}

// reporter makes tasks of messengers.
type reporter struct {
	sender   *sender
	schedule *schedule.Scheduler
	logger   *slog.Logger
}

// route is where the messages of a report go.
type route struct {
	to            tag
	cluster, node string // of messages that name none
}

// run returns a run of a task that sends the messages of a messenger. It sends
// nothing once the task is removed.
func (r *reporter) run(t *schedule.Task, to route, m Messenger) func(context.Context) error {
	return func(ctx context.Context) error {
		return m.Messages(ctx, func(msg Message) error {
			if r.schedule.Removed(t) {
				return nil
			}
			msg.Cluster, msg.Node = cmp.Or(msg.Cluster, to.cluster), cmp.Or(msg.Node, to.node)
			return r.sender.report(ctx, to.to, msg)
		})
	}
}

// add schedules a user's messenger.
func (r *reporter) add(m Messenger, o ReportOptions) (*schedule.Task, error) {
	if err := checkInterval(o.Interval); err != nil {
		return nil, fmt.Errorf("apmon: source %s: %w", o.Name, err)
	}
	if err := r.sender.check(&Message{Cluster: o.Cluster, Node: o.Node}); err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	t := &schedule.Task{Name: o.Name, Interval: orDefault(o.Interval)}
	t.Run = r.run(t, route{0, o.Cluster, o.Node}, m)
	r.schedule.Add(t)
	return t, nil
}

// maxInterval is the longest interval, about 31 years, far from overflows.
const maxInterval = 1e9 * time.Second

// checkInterval refuses an interval that is neither 0 nor within bounds.
func checkInterval(d time.Duration) error {
	if d == 0 || d >= conf.MinInterval && d <= maxInterval {
		return nil
	}
	err := fmt.Errorf("interval of %v is not within %v … %v", d, conf.MinInterval, maxInterval)
	if d > 0 && d < time.Millisecond {
		// Probably a number in another unit.
		err = fmt.Errorf("%w: a bare number is nanoseconds, write %d*time.Second for %d seconds", err, d, d)
	}
	return err
}

// orDefault returns an interval, or the default one for 0.
func orDefault(interval time.Duration) time.Duration {
	if interval <= 0 {
		return conf.DefaultInterval
	}
	return interval
}

// notRead logs values that cannot be read. Package procinfo reports each cause once.
func (r *reporter) notRead(err error) {
	if err != nil {
		r.logger.LogAttrs(context.Background(), slog.LevelWarn, "some values cannot be read and are not reported", slog.String("error", err.Error()))
	}
}

// logRun logs an event of the scheduler.
func logRun(logger *slog.Logger, e schedule.Event) {
	level, message, attr := slog.LevelDebug, "report made", slog.Duration("took", e.Took)
	switch e.Kind {
	case schedule.Recovered:
		level, message, attr = slog.LevelInfo, "report made again", slog.Int("failed", e.Failures)
	case schedule.Failed:
		level, message, attr = slog.LevelWarn, "report not made, or incomplete", slog.String("error", e.Err.Error())
	case schedule.Skipped:
		logger.LogAttrs(context.Background(), slog.LevelWarn, "report skipped, the previous one is still under way", slog.String("source", e.Task))
		return
	}
	logger.LogAttrs(context.Background(), level, message, slog.String("source", e.Task), attr)
}

// collected makes a [Messenger] of a [Source].
type collected struct {
	source Source
	filter *changes.Filter // nil without ChangesOnly
	params []Param
}

func (c *collected) Messages(ctx context.Context, send func(Message) error) error {
	var err error
	c.params, err = c.source.Collect(ctx, c.params[:0])
	if c.filter != nil {
		c.params = c.filter.Keep(c.params, false)
	}
	e := send(Message{Params: c.params})
	if e != nil && c.filter != nil {
		c.filter.Forget() // an unknown part of it was sent
	}
	return errors.Join(err, e)
}

// MonitoredSource is a source that is reported in the background.
type MonitoredSource struct {
	r *reporter
	t *schedule.Task
}

// Remove ends the reports. It does not wait for a report under way; the rest of that
// report is not sent.
func (s *MonitoredSource) Remove() { s.r.schedule.Remove(s.t) }

// Report reports the source now, and returns when the report is sent or ctx has
// ended. The errors are those of [Client.Report]. It does not report a source that
// was removed.
func (s *MonitoredSource) Report(ctx context.Context) error {
	if s.r.sender.closed.Load() {
		return ErrClosed
	}
	return s.r.schedule.RunNow(ctx, schedule.Run{Task: s.t})
}
