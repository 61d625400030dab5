package apmon

import (
	"context"
	"errors"
	"fmt"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/procinfo"
)

// ErrMonitoring is the error of [Client.Monitor] if monitoring is running already.
var ErrMonitoring = errors.New("apmon: monitoring is running already")

// Monitor reports in the background, until ctx ends or the client is closed: on
// this host, as configured, unless [Options.WithoutHost] is set, and on all sources
// and jobs added with [Client.AddSource], [Client.AddMessenger] and
// [Client.AddJob]. It returns at once; the error is [ErrClosed] or
// [ErrMonitoring].
//
// Monitor takes the first sample, so that the first report has rates. The first
// report is due after a random part of the interval, so that the hosts of a farm do
// not all report at once. Later reports are due at equal intervals. A report that is
// due while the previous report of the same source is under way is skipped and
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
	// ReportDue reports the sources and jobs that are due by their intervals.
	ReportDue When = iota
	// ReportNow reports all of them, whether due or not.
	ReportNow
)

// Report reports in the foreground, and returns when the reports are sent or ctx has
// ended. It is for programs without background work, which regularly call it with
// [ReportDue], and for a last or only report, with [ReportNow]. The first call takes
// the first sample of the host, from which rates are computed.
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

// AddSource adds a source. It is reported to all destinations: at its interval while
// [Client.Monitor] runs, and by [Client.Report]. The error names an invalid option.
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

// AddJob monitors a job until its root process ends or the job is removed, a service
// until it is removed. The job is reported at its interval while
// [Client.Monitor] runs, and in any case when it has ended and when the client is
// closed. AddJob takes the first sample.
//
// The error names a process or cgroup that does not exist, a bad name, or an unknown
// option.
func (c *Client) AddJob(j Job) (*MonitoredJob, error) { return c.jobs.add(j) }

// ReportJob sends a sample of a job that is not monitored, such as one that could
// not be started, with more parameters if any are given. It uses only the names,
// Switches and Params of the job. It sends to all destinations whose sources want
// reports on jobs. The errors are those of [Client.AddJob] and [Client.Send].
func (c *Client) ReportJob(ctx context.Context, j Job, s procinfo.JobSample, more ...Param) error {
	return c.jobs.report(ctx, j, s, more)
}

// SendAccounting sends an accounting record. If the rate limit is reached, it waits,
// since the record must not be lost. The error names the missing field, or is that
// of [Client.Send].
func (c *Client) SendAccounting(ctx context.Context, a Accounting) error {
	return c.sender.account(ctx, a)
}
