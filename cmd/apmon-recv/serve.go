package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/httpserver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/prom"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/internal/history"
)

// web is the values and the HTTP server that shows them.
type web struct {
	store    *history.Store   // last values
	windows  *history.Windows // recent values
	exporter *prom.Exporter
	server   *httpserver.Server
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

// newWeb opens the socket of the HTTP server. Stats may be nil.
func newWeb(s settings, stats func() receiver.Stats, outputs func() []output.Stats, reload func() (bool, time.Time), log *slog.Logger) (*web, error) {
	w := &web{store: history.New(historyOptions(s)), windows: history.NewWindows(windowOptions(s))}
	var err error
	w.exporter, err = prom.New(w.store, s.Prometheus, prom.Sources{
		Receiver: stats, Outputs: outputs, Windows: w.windows.Stats, Reload: reload, Version: command.Version(), Log: log,
	})
	if err != nil {
		return nil, err
	}
	// While this process runs, its sockets are open and its configuration is in force: it
	// ends otherwise.
	healthy := func() error { return nil }
	w.server, err = httpserver.Listen(s.HTTP, httpserver.Handlers{Metrics: w.exporter, Healthy: healthy}, log)
	if err != nil {
		return nil, command.Errorf(command.Unavailable, "--http: %w", err)
	}
	return w, nil
}

// consume runs the consumers of the settings at the start until ctx ends. It calls fail if one cannot go on.
func (b *bridge) consume(ctx context.Context, put func(context.Context, *receiver.Packet) bool, fail context.CancelCauseFunc) (wait func(), err error) {
	var wg sync.WaitGroup
	for _, o := range b.start.FromNATS {
		c, err := nats.NewConsumer(o, nats.Handler{
			Put:  put,
			Idle: b.set.Idle,
			Lost: func(part int) {
				if b.web != nil { // the series are at another member now
					gone := func(cluster, node string) bool {
						return subjects.Partition(cluster, node, max(o.Partitions, 1)) == part
					}
					b.web.store.Forget(gone)
					b.web.windows.Forget(gone)
				}
			},
			Log: b.log,
		})
		if err != nil {
			return wg.Wait, command.Errorf(command.Config, "from-nats: %w", err)
		}
		b.consumers = append(b.consumers, c)
		wg.Go(func() {
			if err := c.Run(ctx); err != nil {
				fail(command.Errorf(command.Unavailable, "from-nats: %w", err))
			}
		})
	}
	return wg.Wait, nil
}
