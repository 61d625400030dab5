// Package command holds what the commands of this project share: exit codes,
// errors that carry one, repeatable flags, the version.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
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
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error.
func Errorf(code int, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// Silent is an error that has been told already: only its code is left.
func Silent(code int) error { return &Error{code, errors.New("")} }

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
	case errors.As(err, &e):
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
	default:
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", name, err, name)
	}
	return Code(err)
}

// App sets what all commands have in common: errors come back from Run instead
// of ending the process, and a parameter called "help" is no command.
func App(app *cli.App, stdout, stderr io.Writer) *cli.App {
	app.Version = Version()
	app.Writer, app.ErrWriter = stdout, stderr
	app.HideHelpCommand = true
	app.EnableBashCompletion = true
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return err }
	return app
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

// Repeat is a flag that may be given many times and under any of its names.
// The library refuses two names of one flag in one call, and splits slices at
// commas.
type Repeat struct {
	Forms    []string // the flag's names, the long one first
	Value    string   // what stands for the value in the help
	Usage    string
	Add      func(string) error // called for each value, in order
	Hidden   bool
	Category string

	// AllNames lets Names return all forms, for documentation. In a command
	// that runs, the library must know of one only.
	AllNames bool
}

var _ cli.DocGenerationFlag = (*Repeat)(nil)

// Apply implements [cli.Flag].
func (r *Repeat) Apply(set *flag.FlagSet) error {
	for _, name := range r.Forms {
		set.Var(adder{r.Add}, name, r.Usage)
	}
	return nil
}

// Names implements [cli.Flag].
func (r *Repeat) Names() []string {
	if r.AllNames {
		return r.Forms
	}
	return r.Forms[:1]
}

// String renders the flag for the help.
func (r *Repeat) String() string {
	var b strings.Builder
	for i, name := range r.Forms {
		if i > 0 {
			b.WriteString(", ")
		}
		if len(name) > 1 {
			b.WriteString("-")
		}
		b.WriteString("-" + name + " " + r.Value)
	}
	return b.String() + "\t" + r.Usage
}

// IsSet implements [cli.Flag]; what Add was called with is what counts.
func (r *Repeat) IsSet() bool { return false }

// IsVisible implements [cli.VisibleFlag].
func (r *Repeat) IsVisible() bool { return !r.Hidden }

// GetCategory implements [cli.CategorizableFlag].
func (r *Repeat) GetCategory() string { return r.Category }

// The rest is [cli.DocGenerationFlag].

func (r *Repeat) TakesValue() bool       { return true }
func (r *Repeat) GetUsage() string       { return r.Usage }
func (r *Repeat) GetValue() string       { return r.Value }
func (r *Repeat) GetDefaultText() string { return "" }
func (r *Repeat) GetEnvVars() []string   { return nil }

type adder struct{ add func(string) error }

func (a adder) Set(s string) error { return a.add(s) }
func (a adder) String() string     { return "" }
