package command

import (
	"cmp"
	"flag"
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
	Forms  []string // the flag's names, the long one first
	Value  string   // placeholder of the value in the help
	Usage  string
	Add    func(string) error // called for each value, in order
	Hidden bool
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

// askFlag is --help or --version. It is not a [cli.BoolFlag], for which the library
// prints its own text.
type askFlag struct {
	names []string
	text  string
	asked *bool
}

// Apply implements [cli.Flag].
func (f askFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.names {
		set.BoolFunc(name, "", func(string) error { *f.asked = true; return nil })
	}
	return nil
}

// Names implements [cli.Flag].
func (f askFlag) Names() []string { return f.names }

// String implements [cli.Flag].
func (f askFlag) String() string { return dashed(f.names[0]) }

// IsSet implements [cli.Flag].
func (f askFlag) IsSet() bool { return *f.asked }

// lastGroup is the group of --help and --version.
const lastGroup = "Help"

// Group puts flags into a group of the help.
func Group(name string, flags ...cli.Flag) []cli.Flag {
	for i, f := range flags {
		flags[i] = &member{f, namesOf(f), name}
	}
	return flags
}

// member is a flag of a group. It hides the methods of the library's flags by
// which the library collects groups and texts, since help is our own. It keeps the
// names, since the library looks up each flag among all others.
type member struct {
	cli.Flag
	names []string
	group string
}

// Names implements [cli.Flag].
func (m *member) Names() []string { return m.names }

// Apply implements [cli.Flag]. For the frequent types it avoids the library's
// method, which applies a regular expression to each name.
func (m *member) Apply(set *flag.FlagSet) error {
	switch f := m.Flag.(type) {
	case *cli.BoolFlag:
		for _, name := range m.names {
			set.BoolVar(cmp.Or(f.Destination, new(bool)), name, f.Value, f.Usage)
		}
	case *cli.StringFlag:
		for _, name := range m.names {
			set.StringVar(cmp.Or(f.Destination, new(string)), name, f.Value, f.Usage)
		}
	case *cli.GenericFlag:
		for _, name := range m.names {
			set.Var(f.Value, name, f.Usage)
		}
	default:
		return m.Flag.Apply(set)
	}
	return nil
}

// namesOf returns the names of a flag, like [member.Apply] without the library's
// method.
func namesOf(f cli.Flag) []string {
	switch f := f.(type) {
	case *cli.BoolFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.StringFlag:
		return append([]string{f.Name}, f.Aliases...)
	case *cli.GenericFlag:
		return append([]string{f.Name}, f.Aliases...)
	}
	return f.Names()
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
	case *member:
		o = describe(f.Flag)
		o.group = f.group
		return o
	case *Repeat:
		return option{names: f.Forms, value: f.Value, text: f.Usage, hidden: f.Hidden}
	case askFlag:
		return option{names: f.names, text: f.text}
	}
	o.names = f.Names()
	if v, ok := f.(cli.VisibleFlag); ok {
		o.hidden = !v.IsVisible()
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
