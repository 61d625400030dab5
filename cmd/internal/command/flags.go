package command

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/conf"
)

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
}

var _ cli.Flag = (*Repeat)(nil)

// Apply implements [cli.Flag].
func (r *Repeat) Apply(set *flag.FlagSet) error {
	for _, name := range r.Forms {
		set.Var(adder{r.Add}, name, r.Usage)
	}
	return nil
}

// Names implements [cli.Flag]: the library must know of one only.
func (r *Repeat) Names() []string { return r.Forms[:1] }

// String implements [cli.Flag].
func (r *Repeat) String() string { return dashed(r.Forms[0]) }

// IsSet implements [cli.Flag]; the calls of Add are what counts.
func (r *Repeat) IsSet() bool { return false }

type adder struct{ add func(string) error }

func (a adder) Set(s string) error { return a.add(s) }
func (a adder) String() string     { return "" }

// helpFlag is --help. The library takes any flag of that name and a value that is
// "true" for its own, and would print its own help.
type helpFlag struct{ wanted *bool }

var helpNames = []string{"help", "h"}

// Apply implements [cli.Flag].
func (f helpFlag) Apply(set *flag.FlagSet) error {
	for _, name := range helpNames {
		set.BoolFunc(name, "", func(string) error { *f.wanted = true; return nil })
	}
	return nil
}

// Names implements [cli.Flag].
func (f helpFlag) Names() []string { return helpNames }

// String implements [cli.Flag].
func (f helpFlag) String() string { return "--help" }

// IsSet implements [cli.Flag].
func (f helpFlag) IsSet() bool { return *f.wanted }

// lastGroup is the group of --help and --version.
const lastGroup = "Help"

// Group puts flags into a group of the help.
func Group(name string, flags ...cli.Flag) []cli.Flag {
	for _, f := range flags {
		switch f := f.(type) {
		case *Repeat:
			f.Category = name
		case *cli.BoolFlag:
			f.Category = name
		case *cli.StringFlag:
			f.Category = name
		case *cli.IntFlag:
			f.Category = name
		case *cli.Float64Flag:
			f.Category = name
		case *cli.GenericFlag:
			f.Category = name
		default:
			panic(fmt.Sprintf("a flag of type %T in group %s", f, name))
		}
	}
	return flags
}

// option is a flag as help, manual pages and completion see it.
type option struct {
	names  []string // as on the command line, but for the dashes
	value  string   // stands for the value; empty for a flag that takes none
	text   string
	preset string // the value if the flag is not given, or empty
	group  string
	hidden bool
}

func describe(f cli.Flag) option {
	var o option
	switch f := f.(type) {
	case *Repeat:
		return option{names: f.Forms, value: f.Value, text: f.Usage, group: f.Category, hidden: f.Hidden}
	case helpFlag:
		return option{names: helpNames, text: "show this help", group: lastGroup}
	}
	o.names = f.Names()
	if v, ok := f.(cli.VisibleFlag); ok {
		o.hidden = !v.IsVisible()
	}
	if c, ok := f.(cli.CategorizableFlag); ok {
		o.group = c.GetCategory()
	}
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return o
	}
	o.text = d.GetUsage()
	if !d.TakesValue() {
		return o
	}
	o.value = "VALUE"
	if before, rest, ok := strings.Cut(o.text, "`"); ok { // the library's own form
		if value, after, ok := strings.Cut(rest, "`"); ok {
			o.value, o.text = value, before+value+after
		}
	}
	o.preset = d.GetDefaultText()
	if s, err := strconv.Unquote(o.preset); err == nil {
		o.preset = s
	}
	return o
}

// dashed returns a flag as it stands on a command line.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// forms returns the names with their dashes, the short ones first.
func (o *option) forms() []string {
	var short, long []string
	for _, name := range o.names {
		if len(name) == 1 {
			short = append(short, dashed(name))
		} else {
			long = append(long, dashed(name))
		}
	}
	return append(short, long...)
}

// about returns the text with the value if the flag is not given.
func (o *option) about() string {
	if o.preset == "" {
		return o.text
	}
	return o.text + " (default: " + o.preset + ")"
}

// visible returns the flags that are not hidden, in their order but for those of
// the last group.
func visible(flags []cli.Flag) (list []option) {
	var last []option
	for _, f := range flags {
		switch o := describe(f); {
		case o.hidden:
		case o.group == lastGroup:
			last = append(last, o)
		default:
			list = append(list, o)
		}
	}
	return append(list, last...)
}

// grouped returns the options of one group after the other, in the order of their
// first ones.
func grouped(list []option) (groups [][]option) {
	at := map[string]int{}
	for _, o := range list {
		i, ok := at[o.group]
		if !ok {
			i = len(groups)
			at[o.group] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], o)
	}
	return groups
}

// libraryFlag is what the library's flags of single values implement.
type libraryFlag interface {
	cli.DocGenerationFlag
	cli.CategorizableFlag
	cli.VisibleFlag
	cli.RequiredFlag
	cli.ActionableFlag
}

// namedFlag is a flag of the library that keeps its names. The library looks
// each flag up among all others, and builds the names of each with a regular
// expression every time: half of all instructions of a command that sends one
// message.
type namedFlag struct {
	libraryFlag
	names []string
}

// Names implements [cli.Flag].
func (f *namedFlag) Names() []string { return f.names }

// keepNames returns the flags with their names computed once.
func keepNames(flags []cli.Flag) []cli.Flag {
	kept := make([]cli.Flag, len(flags))
	for i, f := range flags {
		kept[i] = f
		if lf, ok := f.(libraryFlag); ok {
			kept[i] = &namedFlag{lf, f.Names()}
		}
	}
	return kept
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
