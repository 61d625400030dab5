package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/filter"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/procinfo"
)

// bridge is the way of received datagrams to the outputs: the filter and the outputs of the
// settings in force.
type bridge struct {
	stdout io.Writer
	log    *slog.Logger
	filter atomic.Pointer[filter.Filter]
	set    output.Set
	web    *web // nil without an HTTP server

	start     settings                         // those that the program has begun with
	consumers atomic.Pointer[[]*nats.Consumer] // of start

	mu      sync.Mutex
	outputs map[any]output.Output // by their options

	// Not under mu, since apply waits for outputs, and scrapes do not.
	reloadOK atomic.Bool               // the last attempt to read settings succeeded
	reloaded atomic.Pointer[time.Time] // when those in force were put in force

	// Not under mu, since apply waits for outputs that may fail.
	failMu sync.Mutex
	err    error                   // of standard output
	fail   context.CancelCauseFunc // called with it, if not nil
}

func newBridge(stdout io.Writer, log *slog.Logger) *bridge {
	b := &bridge{stdout: stdout, log: log}
	b.set.Log, b.set.Failed = log, b.outputFailed
	b.filter.Store(filter.New(filter.Options{}))
	return b
}

// put hands a datagram of a stream to the outputs, and waits until they have room. It returns
// false if ctx ends before.
func (b *bridge) put(ctx context.Context, p *receiver.Packet) bool {
	return !b.filter.Load().Apply(p) || b.set.Put(ctx, p)
}

// offer hands a datagram to the outputs. It never waits.
func (b *bridge) offer(p *receiver.Packet) {
	if b.filter.Load().Apply(p) {
		b.set.Offer(p)
	}
}

// note counts a datagram that was received for the page.
func (b *bridge) note(p *receiver.Packet) {
	if b.web != nil && p.Datagram != nil {
		b.web.heard.note(p)
	}
}

// apply puts settings in force. Outputs whose options did not change go on; the others end
// when they have handled what they hold. After an error, which comes before any change, the
// settings before it stay in force.
func (b *bridge) apply(ctx context.Context, s settings) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	outputs := make(map[any]output.Output)
	var list []output.Output
	all := s.outputs(b.log)
	if s.Format != "" || len(all) == 0 && b.web == nil {
		o := printOptions{cmp.Or(s.Format, "text"), s.Exact}
		all = append(all, outputSettings{"format", o, func() (output.Output, error) { return newPrinter(b.stdout, o), nil }})
	}
	for _, o := range all {
		out := b.outputs[o.options]
		if out == nil {
			var err error
			if out, err = o.make(); err != nil {
				return outputError(o.key, err)
			}
		}
		outputs[o.options] = out
		list = append(list, out)
	}
	var sinks []output.Sink
	if b.web != nil {
		if err := b.web.configure(s); err != nil {
			return err
		}
		sinks = append(sinks, output.LastValues{Store: b.web.store, Windows: b.web.windows})
	}
	b.filter.Store(b.filter.Load().With(s.Filter))
	b.outputs = outputs
	now := time.Now()
	b.reloaded.Store(&now)
	b.reloadOK.Store(true)
	// The end of the program does not take from outputs the time that they would have.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	b.set.Swap(ending, list, sinks)
	return nil
}

// outputError returns the error of an output that cannot be made.
func outputError(key string, err error) error {
	code := command.Config
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		code = command.NoInput
	}
	return command.Errorf(code, "%s: %w", key, err)
}

// outputFailed ends the program if standard output cannot be written.
func (b *bridge) outputFailed(o output.Output, err error) {
	if _, ok := o.(*printer); !ok {
		return
	}
	b.failMu.Lock()
	defer b.failMu.Unlock()
	b.err = err
	if b.fail != nil {
		b.fail(err)
	}
}

// failed sets the function that is called if standard output cannot be written.
func (b *bridge) failed(fail context.CancelCauseFunc) {
	b.failMu.Lock()
	defer b.failMu.Unlock()
	b.fail = fail
	if b.err != nil {
		fail(b.err)
	}
}

// close lets the outputs handle what they hold. It returns their counts, and the error of
// standard output.
func (b *bridge) close() ([]output.Stats, error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	stats := b.set.Close(ctx)
	b.failMu.Lock()
	defer b.failMu.Unlock()
	return stats, b.err
}

// onSignals reloads the settings on SIGHUP, if load is not nil, and logs the state of the
// outputs on SIGUSR1, until the returned function is called. It notifies the service manager;
// not while a reload hangs, so that its watchdog acts.
func (b *bridge) onSignals(ctx context.Context, r *receiver.Receiver, manager *command.Manager, load func() (settings, error)) (stop func()) {
	// One of each kind may wait while a reload takes its time.
	reloads, states := make(chan os.Signal, 1), make(chan os.Signal, 1)
	for _, s := range reloadSignals {
		if load != nil {
			signal.Notify(reloads, s)
		}
	}
	for _, s := range stateSignals {
		signal.Notify(states, s)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	manager.Notify("READY=1", status(r))
	wg.Go(func() {
		tick := time.NewTicker(manager.Interval())
		defer tick.Stop()
		for {
			select {
			case <-reloads:
				manager.Notify("RELOADING=1", "STATUS=reloading the settings")
				b.reload(ctx, r, load)
				manager.Notify("READY=1", status(r))
			case <-tick.C:
				// status locks the receiver, so after a deadlock the watchdog is no longer notified.
				manager.Notify("WATCHDOG=1", status(r))
			case <-done:
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-states:
				b.logState(r)
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(reloads)
		signal.Stop(states)
		close(done)
		wg.Wait()
	}
}

// status returns the status line for systemctl.
func status(r *receiver.Receiver) string {
	if r == nil {
		return "STATUS=handing on streams"
	}
	s := r.Stats()
	return fmt.Sprintf("STATUS=%d datagrams received, %d refused, %d lost", s.Received, s.Refused, s.Lost)
}

// reload reads the settings once more and puts them in force, if they can be used.
func (b *bridge) reload(ctx context.Context, r *receiver.Receiver, load func() (settings, error)) {
	s, err := load()
	var o receiver.Options
	if err == nil {
		o, err = receiverOptions(s, b.log)
	}
	if err == nil {
		for _, key := range s.needRestart(b.start) {
			b.log.Warn("this setting changes with a restart", "setting", key)
		}
		err = b.apply(ctx, s)
	}
	b.set.Reopen() // before the log says that all is done
	if err != nil {
		b.reloadOK.Store(false)
		b.log.Error("the configuration cannot be used; the last one stays in force", "err", err)
		return
	}
	if r != nil {
		r.SetAccess(o.Access)
		r.SetPassword(o.Password)
	}
	b.log.Info("configuration in force")
}

// reloadState returns whether the last attempt to read the settings succeeded, and when those
// in force were read.
func (b *bridge) reloadState() (ok bool, at time.Time) {
	if t := b.reloaded.Load(); t != nil {
		at = *t
	}
	return b.reloadOK.Load(), at
}

// filtered returns the counts of the filter.
func (b *bridge) filtered() (datagrams, params uint64) { return b.filter.Load().Filtered() }

// inputs returns the consumers of streams.
func (b *bridge) inputs() []*nats.Consumer {
	if all := b.consumers.Load(); all != nil {
		return *all
	}
	return nil
}

// reportInterval is the time between two reports on the receiver itself.
const reportInterval = time.Minute

// report hands reports on the losses of the receiver to the outputs until the context ends. It
// warns if a relay seems to lead back.
func (b *bridge) report(ctx context.Context, r *receiver.Receiver) {
	report := r.NewReport(procinfo.Hostname())
	var last receiver.Stats
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s := r.Stats()
			if circling(last.Counts, s.Counts) {
				b.log.Warn("most datagrams have arrived before: does a relay lead back here over another receiver?", "duplicate", s.Duplicate-last.Duplicate)
			}
			last = s
			b.offer(report.Packet(now, s))
		case <-ctx.Done():
			return
		}
	}
}

// circling reports whether datagrams seem to go round between relays, by the counts of a
// reportInterval: they come 100 times per second or more, and three of four have come before.
// UDP has no count of hops.
func circling(before, now receiver.Counts) bool {
	received, duplicate := now.Received-before.Received, now.Duplicate-before.Duplicate
	return duplicate >= 100*uint64(reportInterval/time.Second) && duplicate > received/4*3
}

// logState logs the counts of the receiver and of each output.
func (b *bridge) logState(r *receiver.Receiver) {
	if r != nil {
		s := r.Stats()
		b.log.Info("received", "datagrams", s.Received, "refused", s.Refused, "lost", s.Lost, "dropped", s.Dropped, "kernel_dropped", s.KernelDropped)
	}
	for _, c := range b.inputs() {
		s := c.Stats()
		b.log.Info("consumed", "from", c.Name(), "datagrams", s.Consumed, "redelivered", s.Redelivered, "missed", s.Missed,
			"active_partitions", s.Active, "pending", s.Pending)
	}
	if datagrams, params := b.filtered(); datagrams+params > 0 {
		b.log.Info("filtered", "datagrams", datagrams, "parameters", params)
	}
	for _, o := range b.set.Stats() {
		b.log.Info("output", "state", o.String())
	}
}
