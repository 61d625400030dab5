package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apmon-go/apmon/conf"
)

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
	Interval time.Duration // between two reports, at least 1 s; 0 for 120 s
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
	if err := checkInterval(o.Interval); err != nil {
		return nil, fmt.Errorf("apmon: source %s: %w", o.Name, err)
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
// sent, nor is what waits for its turn.
func (s *Monitored) Remove() { s.m.remove(s.t) }

// Report reports the source now, and returns when that is done or ctx has ended.
// The errors are those of [Client.Report]; a source that was removed is not
// reported.
func (s *Monitored) Report(ctx context.Context) error {
	if s.m.c.closed.Load() {
		return ErrClosed
	}
	return s.m.runNow(ctx, []*task{s.t}, false, func(ctx context.Context, t *task) error { return t.run(ctx, true) })
}

// maxInterval is more than anybody wants, and far from overflows.
const maxInterval = 1e9 * time.Second

// checkInterval refuses an interval that is neither 0 nor within bounds.
func checkInterval(d time.Duration) error {
	if d == 0 || d >= conf.MinInterval && d <= maxInterval {
		return nil
	}
	err := fmt.Errorf("interval of %v is not within %v … %v", d, conf.MinInterval, maxInterval)
	if d > 0 && d < time.Millisecond {
		// A number that was meant with another unit.
		err = fmt.Errorf("%w: a bare number is nanoseconds, write %d*time.Second for %d seconds", err, d, d)
	}
	return err
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
	return c.sendTo(ctx, only, policy, &m)
}
