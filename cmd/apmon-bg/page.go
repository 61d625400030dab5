package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/paramunits"
	"github.com/apmon-go/apmon/cmd/internal/units"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/webserver"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// defaultHistory is the default of --history-memory. The systemd unit leaves room for it.
const defaultHistory units.Bytes = 8 << 20

// pageEnd is how long requests may still take when the agent ends.
const pageEnd = 500 * time.Millisecond

// webPage serves what the agent reports as web pages.
type webPage struct {
	windows   *history.Windows
	dashboard *dashboard.Dashboard
	server    *webserver.Server
	client    atomic.Pointer[apmon.Client] // nil until it is open

	datagrams, params atomic.Uint64
}

// pageFlags are the flags of the page.
type pageFlags struct {
	listen string
	hosts  []string
	span   command.Duration
	memory units.Bytes
}

func (f *pageFlags) flags() []cli.Flag {
	f.span, f.memory = command.Duration(history.DefaultSpan), defaultHistory
	return command.Group("Page",
		&cli.StringFlag{Name: "http", Usage: "show what is reported on a web page at `[HOST:]PORT`; a port alone is that of 127.0.0.1", Destination: &f.listen},
		&command.Repeat{Forms: []string{"http-host"}, Value: "NAME", Usage: "answer requests for this host by NAME too (repeatable)", Add: func(s string) error {
			f.hosts = append(f.hosts, s)
			return nil
		}},
		&cli.GenericFlag{Name: "history", Value: &f.span, DefaultText: "1h", Usage: "keep values for `TIME`, to show them on the page"},
		&cli.GenericFlag{Name: "history-memory", Value: &f.memory, DefaultText: defaultHistory.String(), Usage: "keep values in at most `SIZE`"},
	)
}

// check returns an error for flags that cannot be used.
func (f *pageFlags) check(cc *cli.Context) error {
	if f.listen == "" {
		for _, name := range []string{"http-host", "history", "history-memory"} {
			if cc.IsSet(name) {
				return fmt.Errorf("--%s does nothing without --http", name)
			}
		}
		if cc.IsSet("http") {
			return errors.New("--http is empty")
		}
		return nil
	}
	if cc.Bool("once") {
		return errors.New("--http cannot be used with --once")
	}
	if f.span <= 0 || f.memory <= 0 {
		return errors.New("--history and --history-memory must be positive")
	}
	if err := f.server().Check(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

func (f *pageFlags) server() webserver.Options {
	return webserver.Options{Listen: f.listen, Hosts: f.hosts, StopTime: pageEnd}
}

// newWebPage opens the socket of the page.
func newWebPage(f *pageFlags, log *slog.Logger) (*webPage, error) {
	p := &webPage{windows: history.NewWindows(history.WindowOptions{Span: time.Duration(f.span), MaxBytes: int64(f.memory)})}
	p.dashboard = dashboard.New(dashboard.Source{
		Windows: p.windows, Totals: p.totals, Outputs: p.outputs,
		Units: paramunits.Unit, Name: name, Version: command.Version(), Host: procinfo.Hostname(),
	}, page.Options{})
	var err error
	p.server, err = webserver.Listen(f.server(), p.dashboard, log)
	if err != nil {
		return nil, command.Errorf(command.Unavailable, "--%w", err)
	}
	return p, nil
}

// datagram is a tap of the client: it keeps the values of each report, once for all
// destinations.
func (p *webPage) datagram(b []byte) {
	d, err := xdr.Parse(b)
	if err != nil {
		return
	}
	p.datagrams.Add(1)
	p.params.Add(uint64(len(d.Params)))
	p.windows.Offer(d.Cluster, d.Node, d.Params, time.Now(), d.Time)
}

// serve serves the page until ctx ends.
func (p *webPage) serve(ctx context.Context, log *slog.Logger) {
	if err := p.dashboard.Serve(ctx, p.server.Serve); err != nil {
		log.Error("the page is no longer served", slog.String("error", err.Error()))
	}
}

// totals are the counts of the reports.
func (p *webPage) totals() dashboard.Totals {
	return dashboard.Totals{Datagrams: p.datagrams.Load(), Parameters: p.params.Load()}
}

// outputs are the destinations.
func (p *webPage) outputs() []dashboard.Output {
	client := p.client.Load()
	if client == nil {
		return nil
	}
	var all []dashboard.Output
	for _, d := range client.Stats().Destinations {
		o := dashboard.Output{Name: d.Name, Sent: d.Sent, Dropped: map[string]uint64{}}
		for cause, n := range map[string]uint64{"not sent": d.Unsent, "refused": d.Refused} {
			if n > 0 {
				o.Dropped[cause] = n
			}
		}
		if !d.Addr.IsValid() {
			o.Error = "the name is not resolved"
		}
		all = append(all, o)
	}
	return all
}
