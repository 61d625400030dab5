// Package command holds what the commands of this project share: exit codes,
// errors that carry one, repeatable flags, help, manual pages, completion, the
// version.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/conf"
)

// Exit codes, as in sysexits.h.
const (
	OK          = 0
	Usage       = 64 // the command was used wrongly
	DataErr     = 65 // bad name, value, time or datagram
	NoInput     = 66 // an input is not there or cannot be read
	NoHost      = 68 // no destination's name could be resolved
	Unavailable = 69 // every destination refused; an address cannot be bound
	IOErr       = 74 // output could not be written
	TempFail    = 75 // over the rate limit; too little arrived in time
	Config      = 78 // configuration
)

// Error is an error with the exit code it leads to.
type Error struct {
	Code int
	Err  error
	help string // the command whose help is of use, such as "apmon-bg exec"
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Silent is an error that has been reported already: only its code is left.
func Silent(code int) error { return &Error{Code: code, Err: errors.New("")} }

// Code returns the exit code that an error leads to.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Usage // what comes from the flag parser carries none
}

// Report prints an error as "NAME: message" and returns its exit code.
func Report(stderr io.Writer, name string, err error) int {
	var e *Error
	switch {
	case err == nil || err.Error() == "":
	case errors.As(err, &e) && e.help == "":
		fmt.Fprintf(stderr, "%s: %s\n", name, Message(err))
	default:
		help := name
		if e != nil {
			help = e.help
		}
		fmt.Fprintf(stderr, "%s: %s\nTry '%s --help'.\n", name, Message(err), help)
	}
	return Code(err)
}

// Message returns the text of an error for a line that begins with the name of
// a command: without the name of the package, which says the same again.
func Message(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "apmon: "), ": apmon: ", ": ")
}

// App is a command of this project. [App.Run] is the only way to run it, so that
// no command misses what all of them have in common.
type App struct {
	cli    *cli.App
	topics []Topic
	wanted bool // the help
}

// Topic is a part of the manual that is too long for --help: "NAME help TOPIC"
// prints it, and the manual page holds it.
type Topic struct {
	Name  string // one word
	Title string
	Usage string // one line for the list of commands
	Text  string // see [sections]
}

// New returns the command that app describes. It gives to app and to its
// subcommands --help, and to the first of the arguments the words "help",
// "version" and "completion". A subcommand whose ArgsUsage is empty takes no
// arguments.
func New(app *cli.App, stdout, stderr io.Writer, topics ...Topic) *App {
	a := &App{cli: app, topics: topics}
	app.HelpName = app.Name
	app.Version = Version()
	app.Compiled = time.Unix(0, 0) // not shown; if it is zero, the library reads the date of the program's file
	app.Flags = keepNames(app.Flags)
	for _, sub := range app.Commands {
		sub.Flags = keepNames(sub.Flags)
	}
	app.Writer, app.ErrWriter = stdout, stderr
	app.HideHelp = true // that of the library
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {} // errors come back from Run
	app.Flags = append(app.Flags, helpFlag{&a.wanted})
	app.OnUsageError = flagError
	app.Before = a.showHelp
	app.Action = action(app.Action, app.ArgsUsage)
	for _, c := range app.Commands {
		a.prepare(c)
	}
	return a
}

// Name returns the name of the command.
func (a *App) Name() string { return a.cli.Name }

// prepare gives to a subcommand what New promises.
func (a *App) prepare(c *cli.Command) {
	c.HideHelp = true
	c.Flags = append(c.Flags, helpFlag{&a.wanted})
	c.OnUsageError = flagError
	c.Before = a.showHelp
	c.Action = action(c.Action, c.ArgsUsage)
}

// Run runs the command and returns the exit code. Args[0] is not used.
//
// A call that ends in oldCompletion comes from a completion script of an earlier
// release, when a user presses TAB. It never does anything but list words.
func (a *App) Run(ctx context.Context, args []string) int {
	if last := len(args) - 1; last > 0 && args[last] == oldCompletion {
		return Report(a.cli.ErrWriter, a.cli.Name, a.completeOld(args[1:last]))
	}
	// In first place only: "apmon-send --pairs help N x 1" has a cluster of
	// that name.
	if len(args) > 1 {
		for _, c := range a.words() {
			if c.Name == args[1] {
				a.prepare(c)
				a.cli.Commands = append(a.cli.Commands, c)
			}
		}
	}
	return Report(a.cli.ErrWriter, a.cli.Name, a.cli.RunContext(ctx, args))
}

// words are the commands that every command has.
func (a *App) words() []*cli.Command {
	var topics []string
	for _, c := range a.cli.Commands {
		topics = append(topics, c.Name)
	}
	for _, t := range a.topics {
		topics = append(topics, t.Name)
	}
	about := "[COMMAND]"
	if len(topics) > 0 {
		about = "[" + strings.Join(topics, "|") + "]"
	}
	return []*cli.Command{{
		Name:      "help",
		Usage:     "show the help, or that of a command or topic",
		ArgsUsage: about,
		Action:    a.help,
	}, {
		Name:   "version",
		Usage:  "show the version",
		Action: func(cc *cli.Context) error { cli.ShowVersion(cc); return nil },
	}, {
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		ArgsUsage:   shells,
		Description: completionDescription,
		Action:      a.completion,
	}}
}

// showHelp prints what --help asks for.
func (a *App) showHelp(cc *cli.Context) error {
	if !a.wanted {
		return nil
	}
	return a.write(a.helpText(cc.Command))
}

// help is the command of that name.
func (a *App) help(cc *cli.Context) error {
	if !cc.Args().Present() {
		return a.write(a.helpText(nil))
	}
	about := cc.Args().First()
	if cc.NArg() > 1 {
		return fmt.Errorf("unexpected argument %q", cc.Args().Get(1))
	}
	names := []string{}
	for _, c := range slices.Concat(a.cli.Commands, a.words()) {
		if c.Name == about {
			return a.write(a.helpText(c))
		}
		names = append(names, c.Name)
	}
	for _, t := range a.topics {
		if t.Name == about {
			return a.write(t.helpText())
		}
		names = append(names, t.Name)
	}
	return fmt.Errorf("no help about %q%s", about, suggestion(about, "", names))
}

// write prints what was asked for, and returns an error that is none: there is
// nothing more to do.
func (a *App) write(text string) error {
	if _, err := io.WriteString(a.cli.Writer, text); err != nil {
		return Errorf(IOErr, "standard output: %w", err)
	}
	return Silent(OK)
}

// action wraps the action of a command that takes the arguments of usage: an
// error without an exit code is one of usage, and refers to the command's help.
func action(do cli.ActionFunc, usage string) cli.ActionFunc {
	return func(cc *cli.Context) error {
		if usage == "" && cc.Args().Present() {
			arg, names := cc.Args().First(), []string(nil)
			if cc.Command.Name == cc.App.Name {
				names = []string{"help", "version", "completion"}
				for _, c := range cc.App.Commands {
					names = append(names, c.Name)
				}
			}
			return usageError(cc, fmt.Errorf("unexpected argument %q%s", arg, suggestion(arg, "", names)))
		}
		return usageError(cc, do(cc))
	}
}

// flagError is what the library calls for flags that cannot be parsed.
func flagError(cc *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		var names []string
		for _, f := range cc.Command.Flags {
			if o := describe(f); !o.hidden {
				names = append(names, o.names...)
			}
		}
		err = fmt.Errorf("unknown flag %s%s", plainFlag(name), suggestion(name, "--", names))
	}
	return usageError(cc, err)
}

// plainFlag writes a flag as it is given, or in quotes if it is an odd one.
func plainFlag(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return dashed(name)
}

func usageError(cc *cli.Context, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Code: Usage, Err: err, help: cc.Command.HelpName}
}

// suggestion returns ", did you mean …?" for the name that is nearest to a word,
// or nothing if none is near.
func suggestion(word, prefix string, names []string) string {
	best, least := "", (len(word)+2)/3+1
	for _, name := range names {
		d := distance(word, name)
		if len(word) >= 3 && strings.HasPrefix(name, word) {
			d = 1
		}
		if d < least {
			best, least = name, d
		}
	}
	switch {
	case best == "" || len(word) > 100:
		return ""
	case prefix == "":
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ", did you mean " + dashed(best) + "?"
}

// distance is the number of bytes to insert, remove or replace that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := corner
			if a[i] != b[j] {
				d = 1 + min(corner, row[j], row[j+1])
			}
			corner, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

// Version is the version of this module as it was built.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// Duration is the value of a [cli.GenericFlag] that takes a time: a number is
// seconds, as in configurations. [cli.Context.Duration] returns it.
type Duration time.Duration

// NewDuration returns a Duration with its default.
func NewDuration(byDefault time.Duration) *Duration { return (*Duration)(&byDefault) }

// Set implements [cli.Generic].
func (d *Duration) Set(s string) error {
	v, err := conf.ParseDuration(s)
	*d = Duration(v)
	return err
}

func (d *Duration) String() string { return time.Duration(*d).String() }
