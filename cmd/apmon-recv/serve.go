package main

import (
	"context"
	"sync"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/httpserver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/prom"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/webserver"
)

// web is what was received, and the HTTP server that shows it.
type web struct {
	store     *history.Store   // last values, for Prometheus
	windows   *history.Windows // values of the last hour, for the page
	heard     heard
	exporter  *prom.Exporter
	dashboard *dashboard.Dashboard
	server    *webserver.Server // nil without --http
}

// configure puts settings in force, which have been checked.
func (w *web) configure(s settings) error {
	w.store.Configure(historyOptions(s))
	w.windows.Configure(windowOptions(s))
	return w.exporter.SetOptions(s.Prometheus)
}

func historyOptions(s settings) history.Options {
	return history.Options{MaxSeries: s.Series, MaxBytes: int64(s.SeriesMemory), Expire: s.Expire}
}

func windowOptions(s settings) history.WindowOptions {
	return history.WindowOptions{Span: s.History, MaxBytes: int64(s.HistoryMemory)}
}

// newWeb opens the socket of the HTTP server, if there is one. The receiver may be nil.
func newWeb(s settings, r *receiver.Receiver, b *bridge) (*web, error) {
	w := &web{store: history.New(historyOptions(s)), windows: history.NewWindows(windowOptions(s))}
	var stats func() receiver.Stats
	if r != nil {
		stats = r.Stats
	}
	var err error
	w.exporter, err = prom.New(w.store, s.Prometheus, prom.Sources{
		Receiver: stats, Inputs: b.inputs, Filtered: b.filtered, Outputs: b.set.Stats, Windows: w.windows.Stats, Reload: b.reloadState,
		Version: command.Version(), Log: b.log,
	})
	if err != nil {
		return nil, err
	}
	w.dashboard = dashboard.New(w.source(r, b.set.Stats), page.Options{Foot: []page.Link{{Path: "/metrics", Text: "/metrics"}}})
	if s.HTTP.Listen == "" {
		return w, nil
	}
	// While this process runs, its sockets are open and its configuration is in force: it
	// ends otherwise.
	healthy := func() error { return nil }
	w.server, err = httpserver.Listen(s.HTTP, httpserver.Handlers{Metrics: w.exporter, Healthy: healthy, Page: w.dashboard}, b.log)
	if err != nil {
		return nil, command.Errorf(command.Unavailable, "--http: %w", err)
	}
	return w, nil
}

// serve follows what is received, and answers requests, until ctx ends.
func (w *web) serve(ctx context.Context) error {
	return w.dashboard.Serve(ctx, func(ctx context.Context) error {
		if w.server == nil {
			<-ctx.Done()
			return nil
		}
		return w.server.Serve(ctx)
	})
}

// consume runs the consumers of the settings at the start until ctx ends. It calls fail if one cannot go on.
func (b *bridge) consume(ctx context.Context, put func(context.Context, *receiver.Packet) bool, fail context.CancelCauseFunc) (wait func(), err error) {
	var all []*nats.Consumer
	for _, o := range b.start.FromNATS {
		c, err := nats.NewConsumer(o, nats.Handler{
			Put:  put,
			Idle: b.set.Idle,
			Lost: func(part int) {
				if b.web != nil { // the series are at another member now
					moved := func(cluster, node string) bool {
						return subjects.Partition(cluster, node, max(o.Partitions, 1)) == part
					}
					b.web.store.Forget(moved)
					b.web.windows.Forget(moved)
				}
			},
			Log: b.log,
		})
		if err != nil {
			return func() {}, command.Errorf(command.Config, "from-nats: %w", err)
		}
		all = append(all, c)
	}
	b.consumers.Store(&all)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			if err := c.Run(ctx); err != nil {
				fail(command.Errorf(command.Unavailable, "from-nats: %w", err))
			}
		})
	}
	return wg.Wait, nil
}
