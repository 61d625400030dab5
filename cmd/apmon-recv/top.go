package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/top"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/internal/dashboard"
)

// viewSignals end the view. SIGHUP comes when the terminal goes.
var viewSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// onceTime is how long "top --once" receives by default.
const onceTime = 5 * time.Second

// terminal is what the view is shown on.
type terminal struct {
	in, out *os.File
	notes   top.Notes // what is logged while it is shown
}

// errNoTerminal is the error of a view without a terminal.
var errNoTerminal = errors.New("top needs a terminal: use top --once for one view as text, or apmon-recv --format text|json|flat|csv")

// openTerminal returns the terminal of the standard streams.
func openTerminal(stdin io.Reader, stdout io.Writer) (*terminal, error) {
	in, _ := stdin.(*os.File)
	out, _ := command.Unescaped(stdout).(*os.File)
	if readable.TerminalOf(in) == nil || readable.TerminalOf(out) == nil || os.Getenv("TERM") == "dumb" {
		return nil, errNoTerminal
	}
	return &terminal{in: in, out: out}, nil
}

// show shows a source until the user leaves, or ctx ends.
func (t *terminal) show(ctx context.Context, src top.Source, name string) error {
	return top.Run(ctx, t.in, t.out, os.Environ(), top.Options{Source: src, Name: name, Color: readable.Color(os.Getenv), Notes: &t.notes})
}

// showFrame writes one view as text.
func showFrame(ctx context.Context, stdout io.Writer, src top.Source, name string) error {
	o, width := top.Options{Source: src, Name: name}, readable.DefaultWidth
	out := command.Unescaped(stdout)
	if t := readable.TerminalOf(out); t != nil {
		width = t.Width()
		if o.Color = readable.Color(os.Getenv); o.Color { // the view is escaped already
			stdout = out
		}
	}
	return top.Once(ctx, stdout, width, o)
}

// topCommand returns the command that shows what is received.
func topCommand(stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	f := new(flagSettings)
	own := []cli.Flag{
		&cli.StringFlag{Name: "url", Usage: "show what the receiver at `URL` receives, which runs with --http; URL is http://[USER:PASSWORD@]HOST:PORT/"},
		&cli.BoolFlag{Name: "once", DisableDefaultText: true, Usage: "print one view as text, and exit"},
	}
	return &cli.Command{
		Name:      "top",
		Usage:     "show what is received, live on the terminal",
		UsageText: "apmon-recv top [--listen HOST:PORT] [--config FILE] [options]\napmon-recv top --url http://HOST:PORT/ [--once]",
		Description: `Shows rates, what needs attention, and the nodes with their parameters and the last 10
minutes of them. Without --url it receives as apmon-recv does, with the same options, and
shows this. Keys are at the bottom of the screen; ? lists them.

With --once it prints one view as text, also without a terminal: with --url at once,
otherwise after --for (default: 5s).

Exits with 64 if there is no terminal and no --once, and with 69 if --once gets no answer
from the URL. Without --once it waits for one.`,
		Flags: slices.Concat(command.Group("View", own...), slices.DeleteFunc(f.flags(), func(f cli.Flag) bool {
			return slices.Contains([]string{"format", "exact", "demo"}, f.Names()[0])
		})),
		Action: func(c *cli.Context) error {
			if err := refuseOuter(c); err != nil {
				return err
			}
			if !c.Bool("once") {
				if _, err := openTerminal(stdin, stdout); err != nil {
					return command.Errorf(command.Usage, "%w", err)
				}
			}
			if c.IsSet("url") {
				for _, name := range c.LocalFlagNames() {
					if name != "url" && name != "once" {
						return command.Errorf(command.Usage, "--%s and --url cannot be used together", name)
					}
				}
				return topOf(c.Context, c.String("url"), c.Bool("once"), stdin, stdout, stderr)
			}
			o, err := f.listenOptions(c)
			if err != nil {
				return err
			}
			if c.Bool("once") {
				if o.limit == 0 && o.count == 0 {
					o.limit = onceTime
				}
				o.frame = func(d *dashboard.Dashboard) error {
					return showFrame(context.WithoutCancel(c.Context), stdout, top.Local{Dashboard: d}, "apmon-recv")
				}
				return listen(c.Context, o, stdout, stderr)
			}
			return topHere(c.Context, o, stdin, stdout, stderr)
		},
	}
}

// topHere receives, and shows what is received on the terminal.
func topHere(ctx context.Context, o listenOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	t, err := openTerminal(stdin, stdout)
	if err != nil {
		return command.Errorf(command.Usage, "%w", err)
	}
	o.notes = &t.notes
	o.view = func(ctx context.Context, w *web) error {
		name := "apmon-recv"
		if w.server != nil {
			name = w.server.URL()
		}
		return t.show(ctx, top.Local{Dashboard: w.dashboard}, name)
	}
	err = listen(ctx, o, stdout, stderr)
	t.notes.Dump(stderr)
	return err
}

// topOf shows what another process receives.
func topOf(ctx context.Context, address string, once bool, stdin io.Reader, stdout, stderr io.Writer) error {
	src, err := top.NewRemote(address)
	if err != nil {
		return command.Errorf(command.Usage, "--url: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, viewSignals...)
	defer stop()
	if once {
		err := showFrame(ctx, stdout, src, src.Name())
		if e := (*top.SourceError)(nil); errors.As(err, &e) {
			return command.Errorf(command.Unavailable, "--url: %w", err)
		} else if err != nil {
			return command.OutputError(err)
		}
		return nil
	}
	t, err := openTerminal(stdin, stdout)
	if err != nil {
		return command.Errorf(command.Usage, "%w", err)
	}
	if err := t.show(ctx, src, src.Name()); err != nil {
		return fmt.Errorf("the view: %w", err)
	}
	return nil
}
