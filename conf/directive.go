package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// prefix begins the name of every directive.
const prefix = "xApMon_"

// directive is one line of the table from which directives are parsed, merged,
// compared and formatted, and against which the sample file is tested.
type directive struct {
	name  string
	scope scope
	field
}

// field is the field of Options that a directive sets.
type field interface {
	parse(o *Options, value string) error
	format(o *Options) string // "" for the default
	byDefault() string        // as format has it; "" for a directive that is ignored
	merge(to, from *Options)  // sets what to leaves at the default
	reset(o *Options)         // sets the default
}

// scope is what a directive affects.
type scope int

const (
	ofClient  scope = iota // sending, logging or reading the source
	ofReports              // content or times of reports
)

// directives are those with a name of their own; [OptionLookup] finds the
// switches of single parameters. To add a directive, add a field to Options, a
// line here and a line to destinations.conf. The table has no calls, so that it
// takes no time at the start of a program.
var directives = []directive{
	{"loglevel", ofClient, &option[slog.Level]{&levelSyntax, func(o *Options) *slog.Level { return &o.LogLevel }}},
	{"maxMsgRate", ofClient, &rateField{option[float64]{&rateSyntax, func(o *Options) *float64 { return &o.MaxMsgRate }}}},
	{"conf_recheck", ofClient, &option[Switch]{&switchSyntax, func(o *Options) *Switch { return &o.Recheck }}},
	{"recheck_interval", ofClient, &option[time.Duration]{&recheckSyntax, func(o *Options) *time.Duration { return &o.RecheckInterval }}},
	{"sys_monitoring", ofReports, &option[Switch]{&switchSyntax, func(o *Options) *Switch { return &o.SysMonitoring }}},
	{"sys_interval", ofReports, &option[time.Duration]{&intervalSyntax, func(o *Options) *time.Duration { return &o.SysInterval }}},
	{"job_monitoring", ofReports, &option[Switch]{&switchSyntax, func(o *Options) *Switch { return &o.JobMonitoring }}},
	{"job_interval", ofReports, &option[time.Duration]{&intervalSyntax, func(o *Options) *time.Duration { return &o.JobInterval }}},
	{"general_info", ofReports, &option[Switch]{&switchSyntax, func(o *Options) *Switch { return &o.GeneralInfo }}},
	{"self", ofReports, &option[Switch]{&switchSyntax, func(o *Options) *Switch { return &o.Self }}},
	{"auto_disable", ofClient, &ignored{warning("is of older clients, and ignored")}},
	// Older clients keep here, in their own copy of the configuration, when
	// they last sent.
	{"sys_data_sent", ofClient, &ignored{}},
	{"job_data_sent", ofClient, &ignored{}},
	{"general_data_sent", ofClient, &ignored{}},
}

// lookUpDirective returns the directive of a name, nil for none.
func lookUpDirective(name string) *directive {
	for i := range directives {
		if directives[i].name == name {
			return &directives[i]
		}
	}
	return nil
}

// syntax is how the values of an option are read and written.
type syntax[T any] struct {
	byDefault T
	parse     func(string) (T, error)
	format    func(T) string
}

var (
	levelSyntax    = syntax[slog.Level]{slog.LevelInfo, ParseLevel, levelName}
	rateSyntax     = syntax[float64]{DefaultMaxMsgRate, parseRate, formatRate}
	switchSyntax   = syntax[Switch]{On, parseSwitch, Switch.String}
	recheckSyntax  = syntax[time.Duration]{DefaultRecheck, parseRecheck, seconds}
	intervalSyntax = syntax[time.Duration]{DefaultInterval, parseInterval, seconds}
)

// option is a field whose zero value is the default.
type option[T comparable] struct {
	*syntax[T]
	at func(*Options) *T
}

func (p *option[T]) parse(o *Options, value string) error {
	v, err := p.syntax.parse(value)
	if err == nil || isWarning(err) {
		*p.at(o) = v
	}
	return err
}

func (p *option[T]) format(o *Options) string {
	var unset T
	if *p.at(o) == unset {
		return ""
	}
	return p.syntax.format(*p.at(o))
}

func (p *option[T]) byDefault() string { return p.syntax.format(p.syntax.byDefault) }

func (p *option[T]) merge(to, from *Options) { first(p.at(to), *p.at(from)) }

func (p *option[T]) reset(o *Options) {
	var unset T
	*p.at(o) = unset
}

// rateField is the rate limit: of two rates the lower counts.
type rateField struct{ option[float64] }

func (*rateField) merge(to, from *Options) {
	if to.MaxMsgRate == 0 || from.MaxMsgRate != 0 && from.MaxMsgRate < to.MaxMsgRate {
		to.MaxMsgRate = from.MaxMsgRate
	}
}

// ignored is a directive without effect; err is nil or a warning.
type ignored struct{ err error }

func (i *ignored) parse(*Options, string) error { return i.err }
func (*ignored) format(*Options) string         { return "" }
func (*ignored) byDefault() string              { return "" }
func (*ignored) merge(_, _ *Options)            {}
func (*ignored) reset(*Options)                 {}

func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(rate > 0) || math.IsInf(rate, 0):
		return 0, fmt.Errorf("%s is not a positive number of messages a second", safetext.Quote(s))
	case rate < 0.001:
		return 0, fmt.Errorf("%s is less than one message in 1000 s", safetext.Quote(s))
	}
	return rate, nil
}

func formatRate(rate float64) string { return strconv.FormatFloat(rate, 'g', -1, 64) }

func parseSwitch(s string) (Switch, error) {
	on, err := ParseBool(s)
	if on {
		return On, err
	}
	return Off, err
}

func parseRecheck(s string) (time.Duration, error)  { return parseTime(s, MinRecheck) }
func parseInterval(s string) (time.Duration, error) { return parseTime(s, MinInterval) }

// parseTime reads a positive time of at least least, which takes the place of a
// shorter one, with a warning.
func parseTime(s string, least time.Duration) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d = d.Round(time.Millisecond); d <= 0 {
		return 0, fmt.Errorf("%s is not a positive time", safetext.Quote(s))
	}
	if d < least {
		return least, warning(fmt.Sprintf("%s is less than %s, which is used", safetext.Quote(s), seconds(least)))
	}
	return d, nil
}

// ForReports returns a copy in which the options that do not affect reports are at
// their defaults. Sources with equal results can share their reports.
func (o Options) ForReports() Options {
	for _, d := range directives {
		if d.scope != ofReports {
			d.reset(&o)
		}
	}
	o.Settings = nil
	return o
}

// Directive is a directive that a program registers: [Reader] checks its values
// and returns them as [Options].Settings.
type Directive struct {
	// Name is the name without the prefix xApMon_.
	Name string
	// Local is for a directive that names files or processes of this host. It is
	// refused in a configuration from a URL, whose server must not choose them.
	Local bool
	// Check returns why a value cannot be used; nil accepts every value that is
	// not empty.
	Check func(value string) error
}

// Setting is a directive of the program in a configuration.
type Setting struct {
	Name, Value string // name without xApMon_
	Source      string // the file, URL or variable that holds it
}

// documented reports whether [Sample] documents a directive, such as one of another
// command: a program that does not use it ignores it without a warning.
func documented(name string) bool { return strings.Contains(Sample, "\n#"+prefix+name+" = ") }

// warning is an error of a line that was used, or that has no effect.
type warning string

func (w warning) Error() string { return string(w) }

func isWarning(err error) bool {
	var w warning
	return errors.As(err, &w)
}

// directive parses a line after its "xApMon_".
func (p *parser) directive(s string) error {
	name, value, ok := strings.Cut(s, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return fmt.Errorf("directive %s has no '='", safetext.Quote(prefix+name))
	}
	var err error
	if i := slices.IndexFunc(p.directives, func(d Directive) bool { return d.Name == name }); i >= 0 {
		return p.setting(&p.directives[i], value)
	} else if d := lookUpDirective(name); d != nil {
		err = setValue(value, func(v string) error { return d.parse(&p.c.Options, v) })
	} else if canonical, ok := p.lookup.find(name); ok {
		err = setValue(value, func(v string) error { return p.c.switchParam(name, canonical, v) })
	} else if strings.HasSuffix(name, "_data_sent") || documented(name) {
		return nil
	} else {
		return fmt.Errorf("directive %s: %w", safetext.Quote(prefix+name), warning("unknown, and ignored"))
	}
	if err != nil {
		return fmt.Errorf(prefix+"%s: %w", name, err)
	}
	return nil
}

// setting reads a directive of the program.
func (p *parser) setting(d *Directive, value string) error {
	v := cutComment(value)
	switch {
	case p.remote && d.Local:
		return fmt.Errorf(prefix+"%s cannot be configured from a URL", d.Name)
	case v == "":
		return fmt.Errorf(prefix+"%s: it is empty", d.Name)
	case d.Check != nil:
		if err := d.Check(v); err != nil {
			return fmt.Errorf(prefix+"%s: %w", d.Name, err)
		}
	}
	p.c.Settings = append(p.c.Settings, Setting{d.Name, v, p.c.Source})
	if v != value {
		return fmt.Errorf(prefix+"%s: %w", d.Name, textIgnored)
	}
	return nil
}

const textIgnored = warning("the text after the value is ignored")

// setValue calls set with the value of a directive without its comment. If set
// refuses it, setValue tries the first word: older clients read only that. Ignored
// text is a warning, which does not show the text. A warning of set takes precedence.
func setValue(value string, set func(string) error) error {
	v := cutComment(value)
	err := set(v)
	if word, rest := cutWord(v); err != nil && rest != "" && !isWarning(err) {
		v = word
		if e := set(word); e == nil || isWarning(e) {
			err = e
		}
	}
	if err == nil && v != value {
		return textIgnored
	}
	return err
}

// switchParam sets the switch of a parameter, name as the file spells it.
func (c *Config) switchParam(name, canonical, value string) error {
	on, err := ParseBool(value)
	if err != nil {
		return err
	}
	p := ParamSwitch{On: on}
	if name != canonical {
		p.Name = name
	}
	c.setParam(canonical, p)
	return nil
}
