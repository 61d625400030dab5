package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// prefix begins the name of every directive.
const prefix = "xApMon_"

// directive is one line of the table from which directives are parsed, merged,
// compared and formatted, and against which the sample file is tested.
type directive struct {
	name      string
	byDefault string
	scope     scope
	parse     func(o *Options, value string) error
	format    func(o *Options) string // "" for the default; nil for a directive that is ignored
	merge     func(to, from *Options) // sets what to leaves at the default
	reset     func(o *Options)        // sets the default
}

// scope is what a directive affects.
type scope int

const (
	ofClient  scope = iota // sending, logging or reading the source
	ofReports              // content or times of reports
)

// directives are those with a name of their own; [OptionLookup] finds the
// switches of single parameters. To add a directive, add a field to Options, a
// line here and a line to destinations.conf.
var directives = sync.OnceValue(func() []directive {
	rate := option("maxMsgRate", strconv.Itoa(DefaultMaxMsgRate), ofClient, func(o *Options) *float64 { return &o.MaxMsgRate }, parseRate,
		func(rate float64) string { return strconv.FormatFloat(rate, 'g', -1, 64) })
	rate.merge = func(to, from *Options) { // the lower counts
		if to.MaxMsgRate == 0 || from.MaxMsgRate != 0 && from.MaxMsgRate < to.MaxMsgRate {
			to.MaxMsgRate = from.MaxMsgRate
		}
	}
	return []directive{
		option("loglevel", "INFO", ofClient, func(o *Options) *slog.Level { return &o.LogLevel }, ParseLevel, levelName),
		rate,
		boolean("conf_recheck", ofClient, func(o *Options) *Switch { return &o.Recheck }),
		interval("recheck_interval", ofClient, DefaultRecheck, MinRecheck, func(o *Options) *time.Duration { return &o.RecheckInterval }),
		boolean("sys_monitoring", ofReports, func(o *Options) *Switch { return &o.SysMonitoring }),
		interval("sys_interval", ofReports, DefaultInterval, MinInterval, func(o *Options) *time.Duration { return &o.SysInterval }),
		boolean("job_monitoring", ofReports, func(o *Options) *Switch { return &o.JobMonitoring }),
		interval("job_interval", ofReports, DefaultInterval, MinInterval, func(o *Options) *time.Duration { return &o.JobInterval }),
		boolean("general_info", ofReports, func(o *Options) *Switch { return &o.GeneralInfo }),
		boolean("self", ofReports, func(o *Options) *Switch { return &o.Self }),
		ignored("auto_disable", warning("is of older clients, and ignored")),
		// Older clients keep here, in their own copy of the configuration, when
		// they last sent.
		ignored("sys_data_sent", nil),
		ignored("job_data_sent", nil),
		ignored("general_data_sent", nil),
	}
})

// lookUpDirective returns the directive of a name, nil for none.
func lookUpDirective(name string) *directive {
	table := directives()
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

// option is a directive that sets one field, whose zero value is the default.
func option[T comparable](name, byDefault string, scope scope, field func(*Options) *T, parse func(string) (T, error), format func(T) string) directive {
	var unset T
	return directive{name, byDefault, scope,
		func(o *Options, value string) error {
			v, err := parse(value)
			if err == nil || isWarning(err) {
				*field(o) = v
			}
			return err
		},
		func(o *Options) string {
			if *field(o) == unset {
				return ""
			}
			return format(*field(o))
		},
		func(to, from *Options) { first(field(to), *field(from)) },
		func(o *Options) { *field(o) = unset },
	}
}

func boolean(name string, scope scope, field func(*Options) *Switch) directive {
	return option(name, On.String(), scope, field, parseSwitch, Switch.String)
}

func interval(name string, scope scope, byDefault, least time.Duration, field func(*Options) *time.Duration) directive {
	return option(name, seconds(byDefault), scope, field, func(s string) (time.Duration, error) { return parseInterval(s, least) }, seconds)
}

// ignored is a directive without effect; err is nil or a warning.
func ignored(name string, err error) directive {
	return directive{name: name,
		parse: func(*Options, string) error { return err },
		merge: func(*Options, *Options) {},
		reset: func(*Options) {},
	}
}

func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(rate > 0) || math.IsInf(rate, 0):
		return 0, fmt.Errorf("%s is not a positive number of messages a second", quote(s))
	case rate < 0.001:
		return 0, fmt.Errorf("%s is less than one message in 1000 s", quote(s))
	}
	return rate, nil
}

func parseSwitch(s string) (Switch, error) {
	on, err := ParseBool(s)
	if on {
		return On, err
	}
	return Off, err
}

// parseInterval reads a positive time of at least least, which takes the place of
// a shorter one, with a warning.
func parseInterval(s string, least time.Duration) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d = d.Round(time.Millisecond); d <= 0 {
		return 0, fmt.Errorf("%s is not a positive time", quote(s))
	}
	if d < least {
		return least, warning(fmt.Sprintf("%s is less than %s, which is used", quote(s), seconds(least)))
	}
	return d, nil
}

// ForReports returns a copy in which the options that do not affect reports are at
// their defaults. Sources with equal results can share their reports.
func (o Options) ForReports() Options {
	for _, d := range directives() {
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
		return fmt.Errorf("directive %s has no '='", quote(prefix+name))
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
		return fmt.Errorf("directive %s: %w", quote(prefix+name), warning("unknown, and ignored"))
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
