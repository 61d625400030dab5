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
	// Silence is after how long MonALISA drops a parameter that is not sent.
	Silence = 900 * time.Second
	// refreshInterval is about how long what does not change stays unsent.
	refreshInterval = Silence / 3
)

// ErrPublished: the registry has a publisher already.
var ErrPublished = errors.New("metrics: the registry is published already")

// Options say how a registry is published.
type Options struct {
	Cluster  string        // empty for the client's default
	Node     string        // empty for the client's default
	Interval time.Duration // between two reports; 0 for 10 s, at least 1 s
	// ChangesOnly leaves out of a report what is as it was in the one before.
	ChangesOnly bool
	// RefreshEvery has every n-th report hold everything all the same; 0 for as
	// many as make 300 s. With more than 1, they have to come within 900 s, see
	// [Silence].
	RefreshEvery int
}

// Publisher reports a registry. Make one with [Publish].
type Publisher struct {
	reg    *Registry
	source *apmon.Monitored
	work   *publication
	once   sync.Once
	err    error // of the last report
}

// Publish has a registry reported by a client, until [Publisher.Stop]: while
// [apmon.Client.Monitor] runs, which has to be called once for the client, before
// or after, and gives the first report a random offset; and by
// [apmon.Client.Report]. What else the monitor reports, such as the host, is the
// client's and its configuration's business: [apmon.Options.WithoutHost] leaves it out.
//
// Reports that fail, and functions that panic, are counted and logged by the
// client (see [apmon.Stats]), and the next report comes as if nothing had been.
//
// The error names the option that cannot be used, or is [ErrPublished].
func Publish(c *apmon.Client, reg *Registry, o Options) (*Publisher, error) {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.RefreshEvery == 0 {
		o.RefreshEvery = int(max(1, refreshInterval/o.Interval))
	}
	if o.RefreshEvery < 0 || o.RefreshEvery > 1 && time.Duration(o.RefreshEvery) >= (Silence+o.Interval-1)/o.Interval {
		return nil, fmt.Errorf("metrics: a refresh every %d reports of %v, at least one in less than %v", o.RefreshEvery, o.Interval, Silence)
	}
	if !reg.published.CompareAndSwap(false, true) {
		return nil, ErrPublished
	}
	p := &Publisher{reg: reg, work: &publication{reader: reg.NewReader(), opt: o}}
	var err error
	p.source, err = c.AddMessenger(p.work, apmon.ReportOptions{Name: "metrics", Cluster: o.Cluster, Node: o.Node, Interval: o.Interval})
	if err != nil {
		reg.published.Store(false)
		return nil, err // it names the source, which is metrics
	}
	return p, nil
}

// Stop reports everything a last time and ends the reports; it comes before
// [apmon.Client.Close]. It waits for a report under way, and for its own, until
// ctx ends or one takes longer than the interval. The error is that of the last
// report. A second call does nothing and returns the same.
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
	opt    Options

	mu       sync.Mutex
	stopping bool // the next report is the last

	// Of the reports, which come one at a time:
	ended  bool
	since  int // reports since the last that held everything
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
		return nil // what came after the last report stays where it is
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
		p.last = nil // who knows what went
	}
	p.ended = stopping && e == nil
	return errors.Join(err, e)
}

// keepChanges leaves what has changed since the last report, or everything if it
// is time for that or all is asked for.
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
