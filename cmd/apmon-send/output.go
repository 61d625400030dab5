package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// output sends or prints the messages.
type output struct {
	client *apmon.Client
	dry    *dryRun // nil without --dry-run
	stop   func()  // ends the handling of SIGHUP; nil if there is none
}

// open creates the client for the destinations of flags, environment and files.
func (c *sendCommand) open(cc *cli.Context) (*output, error) {
	if cc.Bool("wait") && cc.Bool("drop") {
		return nil, errors.New("--wait and --drop cannot be used together")
	}
	rate := 0.0
	if cc.IsSet("rate") {
		var err error
		if rate, err = strconv.ParseFloat(cc.String("rate"), 64); err != nil || !(rate > 0 && rate < 1e9) {
			return nil, fmt.Errorf("--rate %q is not a positive number of messages a second", cc.String("rate"))
		}
	}
	if err := c.Check(cc); err != nil {
		return nil, err
	}
	fromEnv, err := c.Adjust()
	if err != nil {
		return nil, err
	}
	adjust := func(cfg *conf.Config) {
		fromEnv(cfg)
		if rate > 0 {
			cfg.MaxMsgRate = rate
		}
	}
	o := c.Options(cc)
	if cc.Bool("drop") {
		o.RatePolicy = apmon.RateDrop
	}
	if format := cc.String("stdin"); (format == "json" || format == "line") && !cc.Bool("dry-run") {
		o.Adjust = adjust
		return c.follow(cc, o)
	}
	cfg, err := c.config(cc)
	if err != nil {
		return nil, err
	}
	adjust(&cfg)
	out := &output{}
	o.Fallback = false // config has chosen the source
	opts := []apmon.Option{apmon.WithLogger(c.Logger()), apmon.WithContext(cc.Context)}
	if cc.Bool("dry-run") {
		out.dry = newDryRun(c.stdout, cfg)
		o.RatePolicy = apmon.RateOff
		opts = append(opts, apmon.WithResolver(out.dry.resolve), apmon.WithDialer(out.dry.dial))
	}
	if out.client, err = apmon.New(cfg, append(opts, o)...); err != nil {
		return nil, command.Errorf(command.Config, "%w", err)
	}
	return out, nil
}

// follow makes a client that follows its configuration, for a long stream of messages.
// SIGHUP reloads the configuration at once.
func (c *sendCommand) follow(cc *cli.Context, o apmon.Options) (*output, error) {
	sources, err := c.Sources()
	if err != nil {
		return nil, err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	client, err := apmon.OpenSources(cc.Context, sources, o, apmon.WithLogger(c.Logger()))
	if err != nil {
		signal.Stop(hup)
		return nil, command.Errorf(command.Config, "%w", err)
	}
	go func() {
		for range hup {
			_ = client.Reload(context.Background()) // the client logs errors
		}
	}()
	return &output{client: client, stop: func() { signal.Stop(hup); close(hup) }}, nil
}

// config merges all configurations into one. It reports their problems, and returns an
// error only if no destination is left.
func (c *sendCommand) config(cc *cli.Context) (conf.Config, error) {
	var cfg conf.Config
	loaded, err := c.Load(cc.Context, cc.Bool("fallback"))
	if err != nil {
		return cfg, err
	}
	for _, l := range loaded {
		cfg.Merge(l.Config)
		c.Report(l)
	}
	if len(cfg.Destinations) == 0 {
		return cfg, command.Errorf(command.Config, "no usable destination")
	}
	return cfg, nil
}

func (o *output) close() {
	if o.stop != nil {
		o.stop()
	}
	o.client.Close()
}

// send sends one message. It sends no part of a message with an error.
func (o *output) send(ctx context.Context, m apmon.Message) error {
	if err := o.client.Check(m); err != nil {
		return command.Errorf(command.DataErr, "%w", err)
	}
	return command.SendError(o.client.SendMessage(ctx, m))
}

// result returns an error if every destination refused the last datagram.
func (o *output) result() error {
	if o.dry != nil {
		return o.dry.err
	}
	return command.Refused(o.client)
}

// dryRun replaces the network: it assigns an address to every name and prints the
// datagrams.
type dryRun struct {
	stdout io.Writer
	names  map[netip.AddrPort]conf.Destination
	addrs  map[string]netip.Addr
	err    error // of writing
}

func newDryRun(stdout io.Writer, cfg conf.Config) *dryRun {
	r := &dryRun{stdout, map[netip.AddrPort]conf.Destination{}, map[string]netip.Addr{}, nil}
	next := netip.MustParseAddr("2001:db8::1") // reserved for documentation
	for _, d := range cfg.Destinations {
		ip, err := netip.ParseAddr(d.Host)
		if err != nil {
			var seen bool
			if ip, seen = r.addrs[d.Host]; !seen {
				ip, next = next, next.Next()
				r.addrs[d.Host] = ip
			}
		}
		r.names[netip.AddrPortFrom(ip.Unmap(), d.Port)] = d
	}
	return r
}

func (r *dryRun) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	return []netip.Addr{r.addrs[host]}, nil
}

func (r *dryRun) dial(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	return &printer{run: r, to: r.names[addr]}, nil
}

// printer is a connection that prints the datagrams written to it.
type printer struct {
	run *dryRun
	to  conf.Destination
}

func (p *printer) Write(b []byte) (int, error) {
	d, err := xdr.Parse(b)
	if err != nil {
		return 0, err
	}
	// Hide the password in both the JSON and the hexadecimal form.
	d.Password = strings.Repeat("*", len(d.Password))
	line := d.AppendJSON(nil, "")
	line = append(line[:len(line)-1], `,"to":`...)
	line = safetext.AppendJSON(line, p.to.Name())
	line = append(line, `,"hex":"`...)
	line = hex.AppendEncode(line, d.Append(nil))
	line = append(line, '"', '}', '\n')
	if _, err := p.run.stdout.Write(line); err != nil && p.run.err == nil {
		p.run.err = command.OutputError(err)
	}
	return len(b), nil
}

func (p *printer) Close() error                     { return nil }
func (p *printer) Read([]byte) (int, error)         { return 0, io.EOF }
func (p *printer) LocalAddr() net.Addr              { return nil }
func (p *printer) RemoteAddr() net.Addr             { return nil }
func (p *printer) SetDeadline(time.Time) error      { return nil }
func (p *printer) SetReadDeadline(time.Time) error  { return nil }
func (p *printer) SetWriteDeadline(time.Time) error { return nil }
