// Package command holds the code that the commands of this project share: exit codes
// and errors that carry one, destinations, repeatable flags, help, manual pages,
// completion and the version.
//
// A command is an [App]. Its help, manual page and completion are all derived from
// its flags and descriptions. To add a flag, add it to the Flags of the command in
// its main.go, within a [Group], and read it in the action.
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
)

// App is a command of this project. [App.Run] is the only way to run it, so that all
// commands handle help, completion and errors alike.
type App struct {
	cli    *cli.App
	topics []Topic
	// --help and --version were given.
	askedHelp, askedVersion bool
}

// Topic is a part of the manual that is too long for --help. "NAME help TOPIC" prints
// it, and the manual page contains it.
type Topic struct {
	Name  string // one word
	Title string
	Usage string // one line for the list of commands
	Text  string // see [sections]
}

// New returns the command that app describes. It adds --help to the command and its
// subcommands, and the subcommands "help", "version" and "completion". A command
// whose ArgsUsage is empty takes no arguments.
func New(app *cli.App, stdout, stderr io.Writer, topics ...Topic) *App {
	a := &App{cli: app, topics: topics}
	app.HelpName = app.Name
	app.Compiled = time.Unix(0, 0) // not shown; if it were zero, the library would stat the executable
	app.Writer, app.ErrWriter = stdout, stderr
	app.HideHelp, app.HideVersion = true, true // the library's own
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {} // Run returns errors
	app.Flags = slices.Concat(app.Flags, a.helpFlag(), Group(lastGroup, askFlag{[]string{"version", "v"}, "show version, commit, date and Go version", &a.askedVersion}))
	app.OnUsageError = flagError
	app.Before = a.printAsked
	app.Action = action(app.Action, app.ArgsUsage)
	for _, c := range app.Commands {
		a.prepare(c)
	}
	return a
}

// Name returns the name of the command.
func (a *App) Name() string { return a.cli.Name }

// prepare adds --help and the handling of errors to a subcommand.
func (a *App) prepare(c *cli.Command) {
	c.HideHelp = true
	c.Flags = slices.Concat(c.Flags, a.helpFlag())
	c.OnUsageError = flagError
	c.Before = a.printAsked
	c.Action = action(c.Action, c.ArgsUsage)
}

// Run runs the command and returns the exit code. It ignores args[0].
//
// Completion scripts of earlier releases append oldCompletion when a user presses
// TAB. Such a call only lists words.
func (a *App) Run(ctx context.Context, args []string) int {
	if last := len(args) - 1; last > 0 && args[last] == oldCompletion {
		return Report(a.cli.ErrWriter, a.cli.Name, a.completeOld(args[1:last]))
	}
	// Only as the first argument: "apmon-send --pairs help N x 1" has a cluster
	// named help.
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		for _, c := range a.words() {
			if c.Name == args[1] {
				a.prepare(c)
				a.cli.Commands = append(a.cli.Commands, c)
			}
		}
	}
	return Report(a.cli.ErrWriter, a.cli.Name, a.cli.RunContext(ctx, args))
}

// words returns the subcommands that every command has.
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
		Usage:     "show the help of this command, a subcommand or a topic",
		ArgsUsage: about,
		Action:    a.help,
	}, {
		Name:   "version",
		Usage:  "show version, commit, date and Go version",
		Action: a.version,
	}, {
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		ArgsUsage:   shells,
		Description: completionDescription,
		Action:      a.completion,
	}}
}

func (a *App) helpFlag() []cli.Flag {
	return Group(lastGroup, askFlag{[]string{"help", "h"}, "show this help", &a.askedHelp})
}

// printAsked prints the version or the help if --version or --help was given.
func (a *App) printAsked(cc *cli.Context) error {
	switch {
	case a.askedVersion:
		return a.version(cc)
	case a.askedHelp:
		return a.write(a.helpText(cc.Command))
	}
	return nil
}

// version is the action of the subcommand version.
func (a *App) version(*cli.Context) error {
	return a.write(a.cli.Name + " version " + readBuild(debug.ReadBuildInfo()).String() + "\n")
}

// help is the action of the subcommand help.
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

// write prints text and ends the command: it returns an error with code [OK] that is
// not printed.
func (a *App) write(text string) error {
	if _, err := io.WriteString(a.cli.Writer, text); err != nil {
		return OutputError(err)
	}
	return Silent(OK)
}

// action wraps the action of a command. It refuses arguments if usage is empty, and
// turns an error without an exit code into a usage error that refers to the
// command's help.
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
			if scheme, _, ok := strings.Cut(arg, "://"); ok { // a URL may hold a password
				return usageError(cc, fmt.Errorf("unexpected argument %q", scheme+"://…"))
			}
			return usageError(cc, fmt.Errorf("unexpected argument %q%s", arg, suggestion(arg, "", names)))
		}
		return usageError(cc, do(cc))
	}
}

// flagError handles the library's errors of parsing flags.
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

// plainFlag returns a flag with its dashes, or in quotes if it needs escaping.
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
