package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
)

func checkCommand(getenv func(string) string, stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check configurations",
		UsageText: name + " check [--strict] [--fallback] [SOURCE]...",
		Description: `Reads each SOURCE (a file, a folder, a URL, a list of destinations, or another
dialect of APMON_CONFIG), or what the environment names, and prints what is in
force, without passwords, then every problem as SOURCE:LINE: message. Exits with
78 if there is an error, with --strict also for a warning.`,
		HideHelpCommand: true, // a file called "help" is a file
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return err },
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", DisableDefaultText: true, Usage: "a warning is an error"},
			&cli.BoolFlag{Name: "fallback", DisableDefaultText: true, Usage: "use one source, at random, that names a destination"},
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
			for i := range loaded {
				var l accessLog
				if _, err := l.open(loaded[i].Config.AccessLog, nil); err != nil {
					loaded[i].Problems = append(loaded[i].Problems, conf.Problem{Source: loaded[i].Config.Source, Err: err})
				}
			}
			return command.PrintConfig(stdout, loaded, cc.Bool("strict"))
		},
	}
}
