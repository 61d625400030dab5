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

// Repeat is a flag that may be given many times and under any of its names. The
// library's own slice flags refuse two names of one flag in one call, and split
// values at commas.
type Repeat struct {
	Forms    []string // the flag's names, the long one first
	Value    string   // placeholder of the value in the help
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

// Names implements [cli.Flag]. It returns one name, since the library refuses calls
// with two.
func (r *Repeat) Names() []string { return r.Forms[:1] }

// String implements [cli.Flag].
func (r *Repeat) String() string { return dashed(r.Forms[0]) }

// IsSet implements [cli.Flag]. It returns false: the values went to Add.
func (r *Repeat) IsSet() bool { return false }

type adder struct{ add func(string) error }

func (a adder) Set(s string) error { return a.add(s) }
func (a adder) String() string     { return "" }

// helpFlag is --help. It is not a [cli.BoolFlag], for which the library prints its
// own help.
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

// option describes a flag for help, manual pages and completion.
type option struct {
	names  []string // without dashes
	value  string   // placeholder of the value; empty for a flag without value
	may    bool     // the value may be left out, and stands after "=" if it is not
	text   string
	preset string // the default, or empty
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
	if n, ok := f.(*namedFlag); ok {
		f = n.libraryFlag
	}
	if g, ok := f.(*cli.GenericFlag); ok {
		v, ok := g.Value.(interface{ IsBoolFlag() bool })
		o.may = ok && v.IsBoolFlag()
	}
	o.preset = d.GetDefaultText()
	if s, err := strconv.Unquote(o.preset); err == nil {
		o.preset = s
	}
	return o
}

// argument returns the value as it stands after the flag's name: " VALUE" or "[=VALUE]".
func (o *option) argument() string {
	switch {
	case o.value == "":
		return ""
	case o.may:
		return "[=" + o.value + "]"
	}
	return " " + o.value
}

// dashed returns the name of a flag with its dashes.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// forms returns the names with their dashes, short ones first.
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

// about returns the text with the default.
func (o *option) about() string {
	if o.preset == "" {
		return o.text
	}
	return o.text + " (default: " + o.preset + ")"
}

// visible returns the flags that are not hidden, in order, with those of the last
// group at the end.
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

// grouped returns the options by group. Groups are in the order of their first
// options.
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

// libraryFlag is implemented by the library's flags of single values.
type libraryFlag interface {
	cli.DocGenerationFlag
	cli.CategorizableFlag
	cli.VisibleFlag
	cli.RequiredFlag
	cli.ActionableFlag
}

// namedFlag is a flag of the library that caches its names. The library looks up each
// flag among all others and computes their names with a regular expression every
// time, which takes half of the instructions of a command that sends one message.
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

// Duration is the value of a [cli.GenericFlag] for a time span. A number is in
// seconds, as in configurations. [cli.Context.Duration] returns the value.
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
