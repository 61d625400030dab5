package metrics

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

// FuncPublisher reports a registry to a function. Make one with [PublishFunc].
type FuncPublisher struct {
	reg  *Registry
	work *publication
	send func(context.Context, []apmon.Param) error

	interval time.Duration

	stop  context.CancelFunc
	ended chan struct{} // closed when the reports at intervals have ended
	once  sync.Once

	mu  sync.Mutex
	err error // of the last report
}

// PublishFunc reports a registry to a function instead of a client, at intervals, the first
// after a random part of one, until [FuncPublisher.Stop]. The function gets the parameters of
// a report, which it must not keep; its context ends after the interval. Calls are never
// concurrent. A report that fails or panics does not affect later ones. Cluster and Node are
// not used.
//
// The error names the invalid option, or is [ErrPublished].
func PublishFunc(reg *Registry, o PublishOptions, send func(context.Context, []apmon.Param) error) (*FuncPublisher, error) {
	if o.Interval != 0 && o.Interval < MinInterval {
		return nil, fmt.Errorf("metrics: an interval of %v, at least %v", o.Interval, MinInterval)
	}
	work, err := o.publication(reg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &FuncPublisher{reg: reg, work: work, interval: o.Interval, send: send, stop: stop, ended: make(chan struct{})}
	go p.run(ctx)
	return p, nil
}

func (p *FuncPublisher) run(ctx context.Context) {
	defer close(p.ended)
	timer := time.NewTimer(rand.N(p.interval))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(p.interval)
		p.report(ctx)
	}
}

// report makes one report.
func (p *FuncPublisher) report(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.interval)
	defer cancel()
	err := errors.New("metrics: the function of reports ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("metrics: panic in the function of reports: %v", v)
			p.work.forget()
		}
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	err = p.work.Messages(ctx, func(m apmon.Message) error { return p.send(ctx, m.Params) })
}

// Err returns the error of the last report.
func (p *FuncPublisher) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Stop waits for a report under way, sends a last report of all parameters in this goroutine,
// and ends the reports. It waits until ctx ends or one of them takes longer than the interval.
// The error is that of the last report. A second call does nothing and returns the same error.
func (p *FuncPublisher) Stop(ctx context.Context) error {
	p.once.Do(func() {
		p.stop()
		select {
		case <-p.ended:
			p.work.stop()
			p.report(ctx)
		case <-ctx.Done():
			p.mu.Lock()
			p.err = ctx.Err()
			p.mu.Unlock()
		}
		p.reg.published.Store(false)
	})
	return p.Err()
}
