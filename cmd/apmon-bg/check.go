package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/safetext"
)

func checkCommand(getenv func(string) string, stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check configurations",
		UsageText: name + " check [--strict] [--fallback] [--no-resolve] [SOURCE]...",
		Description: `Reads each SOURCE (a file, a folder, a URL, a list of destinations, or another
dialect of APMON_CONFIG), or the sources of the environment if none is given.
Prints the effective configuration, without passwords, and then every problem as
SOURCE:LINE: message. Names that cannot be resolved and destinations with two
passwords are problems. Exits with 78 if there is an error, or, with --strict, a
warning.

A SOURCE is a path if it ends in ".conf", contains a slash, or is a folder. An
address with a port is never a path. Otherwise a file of that name is read; if
there is none, SOURCE is a list of destinations.`,
		ArgsUsage: "[FILE|URL|DEST]...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", DisableDefaultText: true, Usage: "treat warnings as errors"},
			&cli.BoolFlag{Name: "fallback", DisableDefaultText: true, Usage: "use only one source, chosen at random among those that name a destination"},
			&cli.BoolFlag{Name: "no-resolve", DisableDefaultText: true, Usage: "do not resolve the names of destinations"},
		},
		Action: func(cc *cli.Context) error {
			var sources []conf.Source
			for i, arg := range cc.Args().Slice() {
				if strings.HasPrefix(arg, "-") && arg != "-" {
					return command.Errorf(command.Usage, "flag %q after a source: put flags first", arg)
				}
				name := fmt.Sprintf("argument %d", i+1) // the argument itself may hold a password
				more, err := conf.ParseSource(name, arg)
				if err != nil {
					more = []conf.Source{conf.Broken(name, err)}
				}
				sources = append(sources, more...)
			}
			if !cc.Args().Present() {
				var err error
				if sources, err = conf.FromEnv(getenv, conf.SystemFile); err != nil {
					return command.Errorf(command.Config, "%w", err)
				}
			}
			loaded := command.Load(cc.Context, sources, cc.Bool("fallback"), directives()...)
			addrs := map[string]resolved{}
			if !cc.Bool("no-resolve") {
				addrs = lookUp(cc.Context, loaded, func(ctx context.Context, host string) ([]netip.Addr, error) {
					return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				})
			}
			checkDestinations(loaded, addrs)
			for i := range loaded {
				var l accessLog
				if _, err := l.open(accessLogOf(loaded[i].Config.Settings), nil); err != nil {
					loaded[i].Problems = append(loaded[i].Problems, conf.Problem{Source: loaded[i].Config.Source, Err: err})
				}
			}
			return command.PrintConfig(stdout, loaded, cc.Bool("strict"))
		},
	}
}

const (
	lookUpTime = 5 * time.Second // bounds all look-ups of a check
	lookUps    = 20              // run at the same time
)

// resolved is the result of a look-up.
type resolved struct {
	addrs []netip.Addr
	err   error
}

// lookUp resolves the hosts of all destinations that are not addresses.
func lookUp(ctx context.Context, loaded []conf.Loaded, lookup func(context.Context, string) ([]netip.Addr, error)) map[string]resolved {
	ctx, stop := context.WithTimeout(ctx, lookUpTime)
	defer stop()
	hosts := map[string]*resolved{}
	free := make(chan struct{}, lookUps)
	var wg sync.WaitGroup
	for _, l := range loaded {
		for _, d := range l.Config.Destinations {
			if _, err := netip.ParseAddr(d.Host); err == nil || hosts[d.Host] != nil {
				continue
			}
			r := &resolved{}
			hosts[d.Host] = r
			wg.Go(func() {
				free <- struct{}{}
				r.addrs, r.err = lookup(ctx, d.Host)
				<-free
			})
		}
	}
	wg.Wait()
	results := map[string]resolved{}
	for host, r := range hosts {
		results[host] = *r
	}
	return results
}

// checkDestinations adds the problems of names that could not be resolved, and of
// destinations with two passwords. Sources are merged and each address gets each
// datagram once, so only the first password is used.
func checkDestinations(loaded []conf.Loaded, hosts map[string]resolved) {
	type first struct{ source, name, password string }
	seen := map[string]first{} // by name, and by address and port
	for i := range loaded {
		l := &loaded[i]
		problem := func(format string, args ...any) {
			l.Problems = append(l.Problems, conf.Problem{Source: l.Config.Source, Err: fmt.Errorf(format, args...)})
		}
		for _, d := range l.Config.Destinations {
			name, r := d.Name(), hosts[d.Host]
			if r.err != nil {
				problem("destination %s: %w", safetext.Quote(name), r.err)
			}
			if d.Password == "" {
				continue
			}
			if addr, err := netip.ParseAddr(d.Host); err == nil {
				r.addrs = []netip.Addr{addr}
			}
			keys := []string{name}
			for _, addr := range r.addrs {
				keys = append(keys, netip.AddrPortFrom(addr.Unmap(), d.Port).String())
			}
			reported := false
			for _, key := range keys {
				if f, ok := seen[key]; !ok {
					seen[key] = first{l.Config.Source, name, d.Password}
				} else if f.password != d.Password && !reported {
					reported = true
					problem("destination %s has a different password than %s of %s, whose password is used", safetext.Quote(name), safetext.Quote(f.name), f.source)
				}
			}
		}
	}
}
