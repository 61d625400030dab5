package command

import (
	"context"
	"fmt"
	"io"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

// Load reads configuration sources for a command: all of them, or with
// fallback the first, in random order, that yields a destination. It waits 5 s
// at most for each fetch. Directives are those of the command.
func Load(ctx context.Context, sources []conf.Source, fallback bool, directives ...conf.Directive) []conf.Loaded {
	readers := make([]*conf.Reader, len(sources))
	for i, s := range sources {
		readers[i] = &conf.Reader{Source: s, Lookup: apmon.KnownOption, Directives: directives}
	}
	if !fallback {
		return conf.Load(ctx, readers)
	}
	used, loaded := conf.LoadAny(ctx, readers)
	if used >= 0 {
		return loaded[used : used+1]
	}
	return loaded
}

// PrintConfig prints the effective configurations in the format of files, without
// passwords, and then every problem. It returns an error with code [Config] if a
// problem is an error, or, with strict, a warning.
func PrintConfig(stdout io.Writer, loaded []conf.Loaded, strict bool) error {
	bad := 0
	for _, l := range loaded {
		if len(l.Config.Destinations) > 0 {
			if _, err := stdout.Write(append(l.Config.Format(false), '\n')); err != nil {
				return OutputError(err)
			}
		}
	}
	problem := func(text string) error {
		_, err := fmt.Fprintln(stdout, text)
		return err
	}
	for _, l := range loaded {
		var err error
		for _, p := range l.Problems {
			if strict || !p.Warning {
				bad++
			}
			if e := problem(p.Error()); e != nil {
				err = e
			}
		}
		if l.Err != nil {
			bad++
			if e := problem(l.Err.Error()); e != nil {
				err = e
			}
		}
		if err != nil {
			return OutputError(err)
		}
	}
	if bad > 0 {
		return Silent(Config)
	}
	return nil
}
