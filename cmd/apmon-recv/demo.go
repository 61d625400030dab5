package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/farm"
	"github.com/apmon-go/apmon/conf"
)

const (
	// demoListen and demoHTTP are the addresses of a demonstration: free ports of loopback.
	demoListen, demoHTTP = "127.0.0.1:0", "127.0.0.1:0"
	// demoCluster is the cluster of this host.
	demoCluster  = "Demo_Nodes"
	demoInterval = time.Second
	demoSeed     = 2004
)

// demo receives what it sends itself: reports of this host, and those of a simulated farm. It
// shows them on a page, and in the terminal or, without another output, as text.
func demo(ctx context.Context, o listenOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	s, err := o.load()
	if err != nil {
		return err
	}
	_, noTerminal := openTerminal(stdin, stdout)
	view := noTerminal == nil && s.Format == ""
	load := o.load
	o.load = func() (settings, error) {
		s, err := load()
		s.Listen, s.HTTP.Listen = demoListen, cmp.Or(s.HTTP.Listen, demoHTTP)
		if !view && s.Format == "" && len(s.outputs(nil)) == 0 {
			s.Format = "text"
		}
		return s, err
	}
	o.demo = true
	if view {
		return topHere(ctx, o, stdin, stdout, stderr)
	}
	return listen(ctx, o, stdout, stderr)
}

// demoSenders sends reports to a receiver until the returned function is called: those of this
// host as apmon-bg does, and those of a simulated farm with a client for each of its nodes.
func demoSenders(ctx context.Context, to netip.AddrPort, log *slog.Logger) (stop func(), err error) {
	var clients []*apmon.Client
	closeAll := func() {
		for _, c := range clients {
			c.Close()
		}
	}
	cfg := conf.Config{Destinations: []conf.Destination{{Host: to.Addr().String(), Port: to.Port()}}}
	cfg.SysInterval = demoInterval
	// A busy host may need more than a second for a report: that is no news here.
	quiet := apmon.WithLogger(slog.New(slog.DiscardHandler))
	for i := range 1 + farm.Nodes {
		c, err := apmon.New(cfg, apmon.Options{HostCluster: demoCluster, WithoutHost: i > 0}, quiet)
		if err != nil {
			closeAll()
			return nil, err
		}
		clients = append(clients, c)
	}
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	stop = func() {
		cancel()
		sending.Wait()
		closeAll()
	}
	if err := clients[0].Monitor(ctx); err != nil {
		stop()
		return nil, err
	}
	sending.Go(func() {
		farm.New(demoSeed).Run(ctx, func(node int, m apmon.Message) {
			if err := clients[1+node].SendMessage(ctx, m); err != nil && ctx.Err() == nil {
				log.Warn("demo: a message was not sent", slog.String("error", err.Error()))
			}
		})
	})
	return stop, nil
}

// demoBegins says what is shown, and where.
func demoBegins(w io.Writer, page string) {
	fmt.Fprintf(w, "Demo: this host (%s) and a simulated farm (Sim_*), until Ctrl-C.\nPage: %s\n", demoCluster, page)
}

// demoEnds sums up what was received.
func demoEnds(w io.Writer, s *summary, web *web, ran time.Duration) {
	lost := "none lost"
	if s.stats.Lost > 0 {
		lost = fmt.Sprint(s.stats.Lost, " lost")
	}
	kept := web.windows.Stats()
	fmt.Fprintf(w, "%d datagrams of %d senders in %v, %s: %d values of %d nodes.\n",
		s.stats.Received, len(s.senders), ran.Round(time.Second), lost, kept.Points, kept.Nodes)
	fmt.Fprintln(w, "Next: apmon-recv --listen :8884 --http 8080, and apmon-bg -d HOST on each host")
}
