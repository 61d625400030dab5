package apmon

import (
	"context"
	"errors"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
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
