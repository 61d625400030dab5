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
dialect of APMON_CONFIG), or what the environment names, and prints what is in
force, without passwords, then every problem as SOURCE:LINE: message. A name that
cannot be looked up is a problem, and so is a destination with two passwords.
Exits with 78 if there is an error, with --strict also for a warning.

A SOURCE that ends in ".conf", contains a slash, or is a folder is a path; an
address with a port never is; else a file of that name is read, and if there is
none, SOURCE is a list of destinations.`,
		ArgsUsage: "[FILE|URL|DEST]...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", DisableDefaultText: true, Usage: "a warning is an error"},
			&cli.BoolFlag{Name: "fallback", DisableDefaultText: true, Usage: "use one source, at random, that names a destination"},
			&cli.BoolFlag{Name: "no-resolve", DisableDefaultText: true, Usage: "do not look up the names of destinations"},
		},
		Action: func(cc *cli.Context) error {
			var sources []conf.Source
			for i, arg := range cc.Args().Slice() {
				if strings.HasPrefix(arg, "-") {
					return command.Errorf(command.Usage, "flag %q stands behind a source; flags come first", arg)
				}
				name := fmt.Sprintf("argument %d", i+1) // itself it may hold a password
				more, err := conf.Sources(name, arg)
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
			loaded := command.Load(cc.Context, sources, cc.Bool("fallback"))
			addrs := map[string]resolved{}
			if !cc.Bool("no-resolve") {
				addrs = lookUp(cc.Context, loaded, func(ctx context.Context, host string) ([]netip.Addr, error) {
					return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				})
			}
			checkDestinations(loaded, addrs)
			for i := range loaded {
				checkOwn(&loaded[i])
				var l accessLog
				if _, err := l.open(loaded[i].Config.AccessLog, nil); err != nil {
					loaded[i].Problems = append(loaded[i].Problems, conf.Problem{Source: loaded[i].Config.Source, Err: err})
				}
			}
			return command.PrintConfig(stdout, loaded, cc.Bool("strict"))
		},
	}
}

// lookUpTime bounds all look-ups of a check; lookUps is how many run at a time.
const (
	lookUpTime = 5 * time.Second
	lookUps    = 20
)

// resolved is the result of a look-up.
type resolved struct {
	addrs []netip.Addr
	err   error
}

// lookUp looks up the hosts of all destinations that are no addresses.
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

// checkDestinations adds the problems of names that could not be looked up, and
// of destinations with two passwords: sources are merged, and each address gets
// each datagram once, so only the first password is used.
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
			told := false
			for _, key := range keys {
				if f, ok := seen[key]; !ok {
					seen[key] = first{l.Config.Source, name, d.Password}
				} else if f.password != d.Password && !told {
					told = true
					problem("destination %s has another password than %s of %s, which is used", safetext.Quote(name), safetext.Quote(f.name), f.source)
				}
			}
		}
	}
}
