package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/glob"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/record"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/units"
	"github.com/apmon-go/apmon/cmd/internal/command"
)

// flagSettings are settings given by flags that can be repeated.
type flagSettings struct {
	filter struct{ cluster, node, param glob.List }
	record []string
}

func (f *flagSettings) flags() []cli.Flag {
	return slices.Concat(command.Group("Receiving",
		&cli.StringFlag{Name: "config", Usage: "read settings from `FILE`, see --help config; flags come before it"},
		&cli.StringFlag{Name: "listen", DefaultText: defaultListen, Usage: "listen on `HOST:PORT`; an empty host means all addresses, port 0 any free port"},
		&cli.IntFlag{Name: "count", DefaultText: "no limit", Usage: "stop after `N` datagrams, not counting refused ones"},
		&cli.GenericFlag{Name: "for", Value: command.NewDuration(0), DefaultText: "no limit", Usage: "stop after `TIME`, such as 30s or 1h30m; a plain number is seconds"},
		&cli.StringFlag{Name: "password-file", Usage: "refuse datagrams without the password in `FILE`"},
		&cli.BoolFlag{Name: "demo", DisableDefaultText: true, Usage: "show how it works: send parameters of this host to a receiver on loopback, once a second"},
	), command.Group("Filters",
		patterns("cluster", "clusters", &f.filter.cluster),
		patterns("node", "nodes", &f.filter.node),
		patterns("param", "parameters", &f.filter.param),
	), command.Group("Output",
		&cli.StringFlag{Name: "format", DefaultText: "text, if there is no other output", Usage: "print `text|json`"},
		&cli.BoolFlag{Name: "instances", DisableDefaultText: true, Usage: "list every instance in the summary"},
		&command.Repeat{Forms: []string{"record"}, Value: "FILE", Usage: "write JSON lines to FILE, compressed if it ends in .gz or .zst (repeatable)", Add: appendTo(&f.record)},
		&cli.GenericFlag{Name: "record-size", Value: new(units.Bytes), DefaultText: record.DefaultSize.String(), Usage: "begin a new record at `SIZE`"},
		&cli.IntFlag{Name: "record-keep", DefaultText: "all", Usage: "keep the last `N` finished records"},
	))
}

// patterns returns a flag that adds patterns of names.
func patterns(name, what string, l *glob.List) cli.Flag {
	return &command.Repeat{
		Forms: []string{name}, Value: "GLOB",
		Usage: fmt.Sprintf("pass on %s that match GLOB (* and ?) only; !GLOB leaves them out (repeatable)", what),
		Add:   appendTo((*[]string)(l)),
	}
}

func appendTo(l *[]string) func(string) error {
	return func(s string) error {
		*l = append(*l, s)
		return nil
	}
}

// load returns the settings of the configuration file and of the flags, which come first.
func (f *flagSettings) load(c *cli.Context) (settings, error) {
	s := settings{Listen: defaultListen}
	file := c.String("config")
	if file != "" {
		if err := s.readChecked(file); err != nil {
			return s, err
		}
	} else if c.IsSet("config") {
		return s, command.Errorf(command.Usage, "--config: the name is empty")
	}
	if c.IsSet("password-file") && c.String("password-file") == "" {
		return s, command.Errorf(command.Usage, "--password-file: the name is empty")
	}
	for name, to := range map[string]*string{"listen": &s.Listen, "password-file": &s.PasswordFile, "format": &s.Format} {
		if c.IsSet(name) {
			*to = c.String(name)
		}
	}
	s.Cluster = append(s.Cluster, f.filter.cluster...)
	s.Node = append(s.Node, f.filter.node...)
	s.Param = append(s.Param, f.filter.param...)
	for _, name := range f.record {
		s.Record = append(s.Record, record.Options{File: name, Size: *c.Generic("record-size").(*units.Bytes), Keep: c.Int("record-keep")})
	}
	if err := s.check(); err != nil { // of a flag: the file alone was checked before
		return s, command.Errorf(command.Usage, "--%w", err)
	}
	return s, nil
}

// checkCommand returns the command that checks files.
func checkCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check a configuration file",
		UsageText: "apmon-recv check --config FILE",
		Description: `Reports what is wrong with FILE and exits with 78, or prints that it can be used. It
reads the files that FILE names, but asks no server.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "check the settings in `FILE`"},
		},
		Action: func(c *cli.Context) error {
			file := c.String("config")
			if file == "" {
				return command.Errorf(command.Usage, "nothing to check: use --config FILE")
			}
			s := settings{Listen: defaultListen}
			if err := s.readChecked(file); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(stdout, "%s: ok\n", file); err != nil {
				return command.OutputError(err)
			}
			return nil
		},
	}
}
