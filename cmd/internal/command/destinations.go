package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

// Environment is the part of a command's description that tells of the
// variables [Destinations] heeds.
const Environment = Variables + `, else 127.0.0.1:8884.`

// Variables is Environment for a command that sends nothing without a
// destination.
const Variables = `   APMON_CONFIG         destinations, comma-separated, or a configuration
                        file, folder or URL
   MONALISA_HOST        destination, also MONALISAHOST
   APMON_PASSWORD_FILE  file with the password of destinations without
                        one, but for those that only a source of plain
                        http names
   APMON_DEBUG_LEVEL    log level: ERROR, WARNING, INFO, DEBUG, OFF...

Destinations are those of -d and -f, else of APMON_CONFIG, else of
MONALISA_HOST, else of ` + conf.SystemFile

// Destinations is what a command is told of where to send to, by flags and by
// the environment.
type Destinations struct {
	Name   string // of the command
	Getenv func(string) string
	Stderr io.Writer
	System string // the file that is read if nothing names a destination

	Dests, Files []string // -d and -f

	// Times puts the time before every line of the log.
	Times bool

	level slog.LevelVar
}

// Flags returns -d, -f and --fallback.
func (d *Destinations) Flags() []cli.Flag {
	add := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	return Group("Destinations",
		&Repeat{Forms: []string{"dest", "d"}, Value: "DEST", Usage: "send to this destination (repeatable)", Add: add(&d.Dests)},
		&Repeat{Forms: []string{"file", "f"}, Value: "FILE|URL", Usage: "send to the destinations of this configuration file, folder or URL (repeatable)", Add: add(&d.Files)},
		&cli.BoolFlag{Name: "fallback", DisableDefaultText: true, Usage: "of several -f, use one, at random, that names a destination"},
	)
}

// Check refuses flags that exclude each other.
func (d *Destinations) Check(cc *cli.Context) error {
	if cc.Bool("fallback") && len(d.Dests) > 0 {
		return errors.New("--fallback chooses among -f, and goes with no -d")
	}
	return nil
}

// Options returns the settings of a client that follows configurations, which
// all commands share.
func (d *Destinations) Options(cc *cli.Context) apmon.Options {
	return apmon.Options{RatePolicy: apmon.RateWait, Fallback: cc.Bool("fallback")}
}

// Adjust returns what gives the settings of the environment to a configuration,
// see [apmon.Options].
func (d *Destinations) Adjust() (func(*conf.Config), error) {
	password := ""
	if file := d.Getenv("APMON_PASSWORD_FILE"); file != "" {
		var err error
		if password, err = conf.ReadPassword(file); err != nil {
			return nil, Errorf(Config, "APMON_PASSWORD_FILE: %w", err)
		}
	}
	given := d.Getenv("APMON_DEBUG_LEVEL")
	if given != "" {
		level, err := conf.ParseLevel(given)
		if err != nil {
			return nil, Errorf(Config, "APMON_DEBUG_LEVEL: %w", err)
		}
		d.level.Set(level)
	}
	return func(cfg *conf.Config) {
		if given == "" {
			d.level.Set(cfg.LogLevel)
		}
		if password == "" {
			return
		}
		for _, source := range cfg.DefaultPassword(password) {
			d.Logger().Warn("destinations that a plain-http source names do not get the password of APMON_PASSWORD_FILE", slog.String("source", source))
		}
	}, nil
}

// Logger returns a logger of the level that environment and configuration tell.
func (d *Destinations) Logger() *slog.Logger { return d.logger(&d.level) }

// AnswerLogger returns a logger for what was asked for, whatever the level.
func (d *Destinations) AnswerLogger() *slog.Logger { return d.logger(slog.LevelDebug) }

func (d *Destinations) logger(level slog.Leveler) *slog.Logger {
	// Log lines look like the command's other messages.
	plain := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 || a.Key != slog.TimeKey || a.Value.Kind() != slog.KindTime {
			return a
		}
		cmd := slog.String("cmd", d.Name)
		if !d.Times {
			return cmd
		}
		return slog.Group("", slog.String(slog.TimeKey, a.Value.Time().Format("2006-01-02T15:04:05.000Z07:00")), cmd)
	}
	return slog.New(slog.NewTextHandler(d.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: plain}))
}

// sources are those of -f, or if there is neither -f nor -d those of the
// environment.
func (d *Destinations) sources() ([]conf.Source, error) {
	if len(d.Dests) == 0 && len(d.Files) == 0 {
		sources, err := conf.FromEnv(d.Getenv, d.System)
		if err != nil {
			err = Errorf(Config, "%w", err)
		}
		return sources, err
	}
	var sources []conf.Source
	for _, f := range d.Files {
		if strings.Contains(f, "://") {
			sources = append(sources, conf.URL(f))
		} else {
			sources = append(sources, conf.File(f))
		}
	}
	return sources, nil
}

// Load reads the destinations once.
func (d *Destinations) Load(ctx context.Context, fallback bool) ([]conf.Loaded, error) {
	sources, err := d.sources()
	if err != nil {
		return nil, err
	}
	var loaded []conf.Loaded
	if len(d.Dests) > 0 {
		loaded = append(loaded, d.Given())
	}
	return append(loaded, Load(ctx, sources, fallback)...), nil
}

// Given is what the flags -d say.
func (d *Destinations) Given() conf.Loaded {
	l := conf.Loaded{Config: conf.Config{Source: "-d"}}
	for _, s := range d.Dests {
		if err := l.Config.AddLine(s); err != nil {
			l.Problems = append(l.Problems, conf.Problem{Source: "-d", Err: err})
		}
	}
	return l
}

// Sources are all sources, to be followed, see [apmon.OpenSources]. What is
// wrong with -d is reported.
func (d *Destinations) Sources() ([]conf.Source, error) {
	sources, err := d.sources()
	if err != nil || len(d.Dests) == 0 {
		return sources, err
	}
	given := d.Given()
	d.Report(given)
	return append([]conf.Source{conf.Fixed(given.Config)}, sources...), nil
}

// Report tells what of a configuration cannot be used.
func (d *Destinations) Report(l conf.Loaded) {
	for _, p := range l.Problems {
		fmt.Fprintf(d.Stderr, "%s: %v\n", d.Name, p)
	}
	if l.Err != nil {
		fmt.Fprintf(d.Stderr, "%s: %s\n", d.Name, Message(l.Err))
	}
}

// SendError gives an error of sending its exit code.
func SendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, apmon.ErrRateLimited), errors.Is(err, context.Canceled):
		return Errorf(TempFail, "%w", err)
	case errors.Is(err, apmon.ErrNoDestination):
		return Errorf(NoHost, "%w", err)
	}
	return Errorf(DataErr, "%w", err)
}

// Refused asks the sockets what became of the last datagrams, and returns an
// error if nobody took them.
func Refused(client *apmon.Client) error {
	// A reload may come in between, so they are told apart by name.
	before := map[string]uint64{}
	for _, d := range client.Stats().Destinations {
		before[d.Name] = d.Refused
	}
	client.Probe()
	var refused []string
	for _, d := range client.Stats().Destinations {
		switch {
		case d.Twin != "":
		case d.Sent+d.Unsent == 0: // came with a reload, behind the last message
		case d.Sent > 0 && d.Refused == before[d.Name]:
			return nil
		case d.LastError != "":
			refused = append(refused, d.Name+" ("+d.LastError+")")
		default:
			refused = append(refused, d.Name)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return Errorf(Unavailable, "every destination refused: %s", strings.Join(refused, ", "))
}
