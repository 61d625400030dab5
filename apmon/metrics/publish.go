package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

// Limits and defaults of a publisher.
const (
	DefaultInterval = 10 * time.Second
	MinInterval     = time.Second
	// ParamLifetime is the time after which MonALISA drops a parameter that is not
	// sent.
	ParamLifetime = 900 * time.Second
	// refreshInterval is about the time between two reports of an unchanged parameter.
	refreshInterval = ParamLifetime / 3
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

// checked returns the options with their defaults, or an error.
func (o PublishOptions) checked() (PublishOptions, error) {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.RefreshEvery == 0 {
		o.RefreshEvery = int(max(1, refreshInterval/max(1, o.Interval)))
	}
	if o.RefreshEvery < 0 || o.RefreshEvery > 1 && time.Duration(o.RefreshEvery) >= (ParamLifetime+o.Interval-1)/max(1, o.Interval) {
		return o, fmt.Errorf("metrics: a refresh every %d reports of %v, at least one in less than %v", o.RefreshEvery, o.Interval, ParamLifetime)
	}
	return o, nil
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
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	if !reg.published.CompareAndSwap(false, true) {
		return nil, ErrPublished
	}
	p := &Publisher{reg: reg, work: &publication{reader: reg.NewReader(), opt: o}}
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
	opt    PublishOptions

	mu       sync.Mutex
	stopping bool // the next report is the last

	// The fields below are used only by reports, which are never concurrent.
	ended  bool
	since  int // reports since the last of all parameters
	last   map[string]apmon.Param
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
	if p.opt.ChangesOnly {
		p.keepChanges(stopping)
	}
	e := send(apmon.Message{Params: p.params})
	if e != nil {
		p.last = nil // an unknown part of it was sent
	}
	p.ended = stopping && e == nil
	return errors.Join(err, e)
}

// keepChanges removes unchanged parameters, unless all is set or a report of all
// parameters is due.
func (p *publication) keepChanges(all bool) {
	if p.since++; all || p.last == nil || p.since >= p.opt.RefreshEvery {
		p.since = 0
		p.last = make(map[string]apmon.Param, len(p.params))
	}
	kept := p.params[:0]
	for _, param := range p.params {
		if p.last[param.Name] != param {
			p.last[param.Name] = param
			kept = append(kept, param)
		}
	}
	p.params = kept
}
