package apmon

import (
	"context"
	"errors"
	"fmt"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/procinfo"
)

// ErrMonitoring: monitoring runs already.
var ErrMonitoring = errors.New("apmon: monitoring runs already")

// Monitor reports in the background, until ctx ends or the client is closed: on
// this host, as the configurations say, unless [Options.WithoutHost] is set, and
// on what is added with [Client.AddSource], [Client.AddMessenger] and
// [Client.AddJob]. It returns at once; the error is [ErrClosed] or
// [ErrMonitoring].
//
// The first sample is taken now, so that the first report has rates. That report
// follows after a random part of the interval, so that the hosts of a farm do not
// report all at once. From then on reports are due at equal intervals. One that
// is due while the previous one of the same source is under way is skipped and
// counted: see [Stats.Reports]. Sources do not wait for each other.
func (c *Client) Monitor(ctx context.Context) error {
	if c.sender.closed.Load() {
		return ErrClosed
	}
	if err := c.schedule.Start(ctx); err == schedule.ErrStarted {
		return ErrMonitoring
	} else if err != nil {
		return err
	}
	c.host.begin()
	return nil
}

// When is an argument of [Client.Report].
type When int

const (
	// ReportDue reports what is due by its interval.
	ReportDue When = iota
	// ReportNow reports everything, whether due or not.
	ReportNow
)

// Report reports in the foreground, and returns when that is done or ctx has
// ended. It is for programs without background work, which call it with
// [ReportDue] every now and then, and for a last or only report, with
// [ReportNow]. The first call takes the first sample of the host, from which
// rates are computed.
//
// The error joins those of sending and those of the sources.
func (c *Client) Report(ctx context.Context, when When) error {
	if c.sender.closed.Load() {
		return ErrClosed
	}
	first := c.host.begin()
	if when == ReportNow {
		return c.schedule.RunAll(ctx)
	}
	return c.schedule.RunDue(ctx, first) // waits for the first samples
}

// AddSource adds a source that is reported at its interval, to all destinations,
// while [Client.Monitor] runs, and by [Client.Report]. The error is about the
// options.
func (c *Client) AddSource(s Source, o ReportOptions) (*MonitoredSource, error) {
	if s == nil {
		return nil, errors.New("apmon: nil source")
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("%T", s)
	}
	return c.AddMessenger(&collected{source: s}, o)
}

// AddMessenger is [Client.AddSource] for a [Messenger].
func (c *Client) AddMessenger(m Messenger, o ReportOptions) (*MonitoredSource, error) {
	if m == nil {
		return nil, errors.New("apmon: nil source")
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("%T", m)
	}
	t, err := c.reporter.add(m, o)
	if err != nil {
		return nil, err
	}
	return &MonitoredSource{&c.reporter, t}, nil
}

// AddJob monitors a job until its root process ends or it is removed, a service
// until it is removed. The job is reported at its interval while
// [Client.Monitor] runs, and always when it has ended, and when the client is
// closed. The first sample is taken now.
//
// The error names what is wrong: a process or cgroup that does not exist, a bad
// name, an unknown option.
func (c *Client) AddJob(j Job) (*MonitoredJob, error) { return c.jobs.add(j) }

// ReportJob sends a sample of a job that is not monitored, such as one that could
// not be started, with more parameters if any are given. Only names, Switches and
// Params of the job are used. It goes to all destinations whose sources want
// reports on jobs. The errors are those of [Client.AddJob] and [Client.Send].
func (c *Client) ReportJob(ctx context.Context, j Job, s procinfo.JobSample, more ...Param) error {
	return c.jobs.report(ctx, j, s, more)
}

// SendAccounting sends an accounting record. It waits for its turn if the rate
// limit is reached, since the record must not be lost. The error names the field
// that is missing, or is that of [Client.Send].
func (c *Client) SendAccounting(ctx context.Context, a Accounting) error {
	return c.sender.account(ctx, a)
}
