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

// DestHelp is the paragraph of a command's description about the value of -d.
const DestHelp = `DEST is host[:port][ password]. Write IPv6 as [address]:port, and a password with
blanks in quotes. All users can see a password on the command line in the list of
processes; use a file or APMON_PASSWORD_FILE instead.`

// Environment is the part of a command's description about the environment variables
// that [Destinations] reads.
const Environment = Variables + `, else 127.0.0.1:8884.`

// Variables is [Environment] for a command that has no default destination.
const Variables = `   APMON_CONFIG         destinations, comma-separated, or a configuration
                        file, folder or URL
   MONALISA_HOST        destination, also MONALISAHOST
   APMON_PASSWORD_FILE  file with the password of destinations without
                        one, except those that only a plain-http source
                        names
   APMON_DEBUG_LEVEL    log level: ERROR, WARNING, INFO, DEBUG, OFF...

Destinations are those of -d and -f, else of APMON_CONFIG, else of
MONALISA_HOST, else of ` + conf.SystemFile

// Destinations holds the destinations that flags and environment give to a command.
type Destinations struct {
	Name   string // of the command
	Getenv func(string) string
	Stderr io.Writer
	System string // the file to read if nothing else names a destination

	Dests, Files []string // -d and -f

	// Times adds the time to every line of the log.
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
		&cli.BoolFlag{Name: "fallback", DisableDefaultText: true, Usage: "use only one -f, chosen at random among those that name a destination"},
	)
}

// Check refuses flags that cannot be used together.
func (d *Destinations) Check(cc *cli.Context) error {
	if cc.Bool("fallback") && len(d.Dests) > 0 {
		return errors.New("--fallback chooses among -f and cannot be used with -d")
	}
	return nil
}

// Options returns the settings of a client that follows configurations, which
// all commands share.
func (d *Destinations) Options(cc *cli.Context) apmon.Options {
	return apmon.Options{RatePolicy: apmon.RateWait, Fallback: cc.Bool("fallback")}
}

// Adjust returns a function that applies the settings of the environment to a
// configuration, see [apmon.Options].
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
		for _, source := range cfg.SetDefaultPassword(password) {
			d.Logger().Warn("destinations named by a plain-http source do not get the password of APMON_PASSWORD_FILE", slog.String("source", source))
		}
	}, nil
}

// Logger returns a logger with the level of the environment, else of the
// configuration.
func (d *Destinations) Logger() *slog.Logger { return d.logger(&d.level) }

// AnswerLogger returns a logger for requested output, which is logged at any level.
func (d *Destinations) AnswerLogger() *slog.Logger { return d.logger(slog.LevelDebug) }

func (d *Destinations) logger(level slog.Leveler) *slog.Logger {
	return NewLogger(d.Stderr, d.Name, level, d.Times)
}

// sources returns the sources of -f, or of the environment if neither -f nor -d is
// given.
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

// Given returns the configuration of the flags -d.
func (d *Destinations) Given() conf.Loaded {
	l := conf.Loaded{Config: conf.Config{Source: "-d"}}
	for _, s := range d.Dests {
		if err := l.Config.AddLine(s); err != nil {
			l.Problems = append(l.Problems, conf.Problem{Source: "-d", Err: err})
		}
	}
	return l
}

// Sources returns all sources for a client that follows them, see
// [apmon.OpenSources]. It reports errors in -d.
func (d *Destinations) Sources() ([]conf.Source, error) {
	sources, err := d.sources()
	if err != nil || len(d.Dests) == 0 {
		return sources, err
	}
	given := d.Given()
	d.Report(given)
	return append([]conf.Source{conf.Fixed(given.Config)}, sources...), nil
}

// Report prints the problems of a configuration.
func (d *Destinations) Report(l conf.Loaded) {
	for _, p := range l.Problems {
		fmt.Fprintf(d.Stderr, "%s: %v\n", d.Name, p)
	}
	if l.Err != nil {
		fmt.Fprintf(d.Stderr, "%s: %s\n", d.Name, Message(l.Err))
	}
}

// SendError adds the exit code to an error of sending.
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

// Refused checks the sockets for refusals of the last datagrams. It returns an error if
// every destination refused them.
func Refused(client *apmon.Client) error {
	// A reload may replace destinations in between, so compare them by name.
	before := map[string]uint64{}
	for _, d := range client.Stats().Destinations {
		before[d.Name] = d.Refused
	}
	client.Probe()
	var refused []string
	for _, d := range client.Stats().Destinations {
		switch {
		case d.Twin != "":
		case d.Sent+d.Unsent == 0: // added by a reload after the last message
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
