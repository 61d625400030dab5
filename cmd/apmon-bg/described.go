package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// described is how configurations name the reports of this host: the directives
// that do what flags do. They are read when the agent starts.
type described struct{ cluster, node, group string }

// loadOwn reads the configurations for the directives that are apmon-bg's own, which
// count only where they are not from a URL. What is wrong with a source, the client
// will log.
func (a *agent) loadOwn(cc *cli.Context) []conf.Loaded {
	loaded, err := a.LoadLocal(cc.Context)
	if err != nil {
		return nil
	}
	return loaded
}

// take takes the directives of configurations: services, jobs and cgroups beside
// those of the flags, of the names the first. A service that a flag names is that
// of the flag.
func (d *described) take(loaded []conf.Loaded, flags *jobFlags, log *slog.Logger) {
	for _, l := range loaded {
		for _, s := range l.Config.Own {
			if err := d.setting(s, flags); err != nil {
				log.Error("directive not used", slog.String("source", l.Config.Source), slog.String("error", err.Error()))
			}
		}
	}
}

// setting takes a directive.
func (d *described) setting(s conf.Setting, flags *jobFlags) (err error) {
	if s.Value == "none" {
		return nil // as the sample shows the default
	}
	name := func(to *string) error {
		if *to == "" {
			*to = s.Value
		}
		return xdr.CheckName(s.Value)
	}
	switch s.Name {
	case "cluster":
		err = name(&d.cluster)
	case "node":
		err = name(&d.node)
	case "host_group":
		err = name(&d.group)
	case "service":
		of, _, _ := strings.Cut(s.Value, "=")
		if !slices.ContainsFunc(flags.services, func(sv *watched) bool { return sv.name == of }) {
			err = flags.addService(s.Value)
		}
	case "watch_job":
		j, e := parseJob(s.Value)
		if err = e; e == nil {
			flags.own = append(flags.own, j)
		}
	case "watch_cgroup":
		err = flags.addGlob(s.Value)
	default:
		err = errors.New("unknown")
	}
	if err != nil {
		return fmt.Errorf("xApMon_%s: %w", s.Name, err)
	}
	return nil
}

// checkOwn adds what is wrong with such directives to the problems of a source.
func checkOwn(l *conf.Loaded) {
	var d described
	var flags jobFlags
	for _, s := range l.Config.Own {
		if err := d.setting(s, &flags); err != nil {
			l.Problems = append(l.Problems, conf.Problem{Source: l.Config.Source, Err: err})
		}
	}
}
