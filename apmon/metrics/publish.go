package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/internal/changes"
)

// Limits and defaults of a publisher.
const (
	DefaultInterval = 10 * time.Second
	MinInterval     = time.Second
	// ParamLifetime is the time after which MonALISA drops a parameter that is not
	// sent.
	ParamLifetime = changes.ParamLifetime
)

// ErrPublished is the error of [Publish] for a registry that has a publisher.
var ErrPublished = errors.New("metrics: the registry is published already")

// PublishOptions are the settings of a [Publisher].
type PublishOptions struct {
	Cluster  string        // empty for the client's default
	Node     string        // empty for the client's default
	Interval time.Duration // between two reports; 0 for 10 s, at least 1 s
	// ChangesOnly omits parameters that have not changed since the previous report.
	ChangesOnly bool
	// With ChangesOnly, every RefreshEvery-th report holds all parameters; 0 for
	// one each 300 s. It must be more often than every 900 s, see [ParamLifetime].
	RefreshEvery int
}

// publication returns the messenger of a registry. It sets the default interval.
func (o *PublishOptions) publication(reg *Registry) (*publication, error) {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	filter, err := changes.New(o.RefreshEvery, o.Interval)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if !o.ChangesOnly {
		filter = nil
	}
	if !reg.published.CompareAndSwap(false, true) {
		return nil, ErrPublished
	}
	return &publication{reader: reg.NewReader(), filter: filter}, nil
}

// Publisher reports a registry. Make one with [Publish].
type Publisher struct {
	reg    *Registry
	source *apmon.MonitoredSource
	work   *publication
	once   sync.Once
	err    error // of the last report
}

// Publish adds a registry to the reports of a client, until [Publisher.Stop].
// [apmon.Client.Monitor], called once before or after Publish, makes the reports in the
// background, the first at a random offset; so does [apmon.Client.Report] in the
// foreground. The client also reports the host, unless its options (such as
// [apmon.Options.WithoutHost]) or its configuration switch that off.
//
// The client counts and logs reports that fail and functions that panic (see
// [apmon.Stats]); later reports are not affected.
//
// The error names the invalid option, or is [ErrPublished].
func Publish(c *apmon.Client, reg *Registry, o PublishOptions) (*Publisher, error) {
	work, err := o.publication(reg)
	if err != nil {
		return nil, err
	}
	p := &Publisher{reg: reg, work: work}
	p.source, err = c.AddMessenger(p.work, apmon.ReportOptions{Name: "metrics", Cluster: o.Cluster, Node: o.Node, Interval: o.Interval})
	if err != nil {
		reg.published.Store(false)
		return nil, err // err names the source, which is metrics
	}
	return p, nil
}

// Stop sends a last report of all parameters and ends the reports. Call it before
// [apmon.Client.Close]. It waits for a report under way and for the last one, until ctx
// ends or one of them takes longer than the interval. The error is that of the last
// report. A second call does nothing and returns the same error.
func (p *Publisher) Stop(ctx context.Context) error {
	p.once.Do(func() {
		p.work.stop()
		p.err = p.source.Report(ctx)
		p.source.Remove()
		p.reg.published.Store(false)
	})
	return p.err
}

// publication is the [apmon.Messenger] of a publisher.
type publication struct {
	reader *Reader
	filter *changes.Filter // nil without ChangesOnly

	mu       sync.Mutex
	stopping bool // the next report is the last

	// The fields below are used only by reports, which are never concurrent.
	ended  bool
	params []apmon.Param
}

func (p *publication) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
}

// Messages sends one report.
func (p *publication) Messages(ctx context.Context, send func(apmon.Message) error) error {
	if p.ended {
		return nil // the last report has been sent
	}
	p.mu.Lock()
	stopping := p.stopping
	p.mu.Unlock()
	var err error
	p.params, err = p.reader.Collect(ctx, p.params[:0])
	if p.filter != nil {
		p.params = p.filter.Keep(p.params, stopping)
	}
	e := send(apmon.Message{Params: p.params})
	if e != nil {
		p.forget()
	}
	p.ended = stopping && e == nil
	return errors.Join(err, e)
}

// forget makes the next report one of all parameters.
func (p *publication) forget() {
	if p.filter != nil {
		p.filter.Forget()
	}
}
