package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the directives of a source. They apply to its destinations only,
// but for the rate: the lowest of all sources limits the client.
type Options struct {
	// LogLevel is the least severe level that the commands log.
	LogLevel slog.Level
	// MaxMsgRate is how many messages a second may be sent (one that takes n
	// datagrams counts n). 0 means the client's default.
	MaxMsgRate float64
	// Recheck tells whether the source is read again, by default on.
	Recheck Switch
	// RecheckInterval is how often, by default every [DefaultRecheck].
	RecheckInterval time.Duration
	// SysMonitoring, JobMonitoring and GeneralInfo switch the background
	// monitoring of the host, of jobs, and of what seldom changes; by default
	// on. The intervals are by default [DefaultInterval], and never less than
	// [MinInterval].
	SysMonitoring, JobMonitoring, GeneralInfo Switch
	SysInterval, JobInterval                  time.Duration
	// Self switches the sender's own statistics, by default on.
	Self Switch
	// Params switches single parameters; the key is the canonical name of the
	// option, such as "sys_load1", "job_rss" or "cpu_MHz".
	Params map[string]Param
	// AccessLog is an access log that apmon-bg shall sum up. Of several sources
	// the first that names one counts; one from a URL may name none.
	AccessLog AccessLog
	// Own are the program's own directives, in their order: see [Reader].
	Own []Setting
}

// Setting is a directive that this package does not look into.
type Setting struct{ Name, Value string }

// AccessLog holds the directives xApMon_accesslog and xApMon_accesslog_NAME as
// they were written, empty for the default: they mean what the flags of apmon-bg do.
type AccessLog struct {
	Input, Match, IDs, Window, Status, Format, Cluster, Node string
}

// Param is the switch of one monitored parameter.
type Param struct {
	On   bool
	Name string // the option as it was spelled, if not canonically
}

// Defaults of intervals.
const (
	DefaultRecheck  = 600 * time.Second
	DefaultInterval = 120 * time.Second
	// MinInterval is the least time between two reports of the host or of a job.
	MinInterval = time.Second
	// MinRecheck is the least time between two looks at a source.
	MinRecheck = 30 * time.Second
)

// Switch is a boolean that may be left at its default.
type Switch int8

const (
	Default Switch = iota
	On
	Off
)

// Or returns the switch as a boolean, and what is given for the default.
func (s Switch) Or(byDefault bool) bool {
	if s == Default {
		return byDefault
	}
	return s == On
}

func (s Switch) String() string {
	switch s {
	case On:
		return "on"
	case Off:
		return "off"
	}
	return ""
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Equal reports whether two sets of options are the same.
func (o Options) Equal(other Options) bool {
	a, b := o, other
	if !maps.Equal(a.Params, b.Params) {
		return false
	}
	a.Params, b.Params = nil, nil
	return reflect.DeepEqual(a, b)
}

func (c *Config) setParam(name string, p Param) {
	if c.Params == nil {
		c.Params = map[string]Param{}
	}
	c.Params[name] = p
}

// prefix stands before the name of every directive.
const prefix = "xApMon_"

// directive is one line of the table from which directives are read, printed
// and documented.
type directive struct {
	name      string
	byDefault string
	set       func(o *Options, value string) error
	get       func(o *Options) string // empty for the default; nil for what is ignored
}

// directives are those with a name of their own; the switches of single
// parameters are the business of [Known].
var directives = sync.OnceValue(func() []directive {
	return []directive{
		{"loglevel", "INFO",
			func(o *Options, v string) error {
				level, err := ParseLevel(v)
				if err == nil {
					o.LogLevel = level
				}
				return err
			},
			func(o *Options) string { return levelName(o.LogLevel) }},
		{"maxMsgRate", "40",
			func(o *Options, v string) error {
				rate, err := strconv.ParseFloat(v, 64)
				if err != nil || !(rate > 0) || math.IsInf(rate, 0) {
					return fmt.Errorf("%s is not a positive number of messages a second", quote(v))
				}
				if rate < 0.001 {
					return fmt.Errorf("%s is less than one message in 1000 s", quote(v))
				}
				o.MaxMsgRate = rate
				return nil
			},
			func(o *Options) string {
				if o.MaxMsgRate == 0 {
					return ""
				}
				return strconv.FormatFloat(o.MaxMsgRate, 'g', -1, 64)
			}},
		boolean("conf_recheck", func(o *Options) *Switch { return &o.Recheck }),
		interval("recheck_interval", DefaultRecheck, MinRecheck, func(o *Options) *time.Duration { return &o.RecheckInterval }),
		boolean("sys_monitoring", func(o *Options) *Switch { return &o.SysMonitoring }),
		interval("sys_interval", DefaultInterval, MinInterval, func(o *Options) *time.Duration { return &o.SysInterval }),
		boolean("job_monitoring", func(o *Options) *Switch { return &o.JobMonitoring }),
		interval("job_interval", DefaultInterval, MinInterval, func(o *Options) *time.Duration { return &o.JobInterval }),
		boolean("general_info", func(o *Options) *Switch { return &o.GeneralInfo }),
		boolean("self", func(o *Options) *Switch { return &o.Self }),
		text("accesslog", "none", func(o *Options) *string { return &o.AccessLog.Input }),
		text("accesslog_match", `/[^/]+/(?P<format>hls|dash)/(?P<content>.+)-(?P<quality>[^-]+)/.*`, func(o *Options) *string { return &o.AccessLog.Match }),
		text("accesslog_ids", "all", func(o *Options) *string { return &o.AccessLog.IDs }),
		text("accesslog_window", "15", func(o *Options) *string { return &o.AccessLog.Window }),
		text("accesslog_status", "200,206", func(o *Options) *string { return &o.AccessLog.Status }),
		text("accesslog_format", "json", func(o *Options) *string { return &o.AccessLog.Format }),
		text("accesslog_cluster", "ApMon_AccessLog", func(o *Options) *string { return &o.AccessLog.Cluster }),
		text("accesslog_node", "{host}_{content}_{format}_{quality}", func(o *Options) *string { return &o.AccessLog.Node }),
		{"auto_disable", "", func(*Options, string) error { return warning("is of older clients, and ignored") }, nil},
		// Not settings: older clients keep here, in their own copy of the
		// configuration, when they last sent.
		{"sys_data_sent", "", ignore, nil},
		{"job_data_sent", "", ignore, nil},
		{"general_data_sent", "", ignore, nil},
	}
})

func ignore(*Options, string) error { return nil }

func boolean(name string, field func(*Options) *Switch) directive {
	return directive{name, "on",
		func(o *Options, v string) error {
			on, err := ParseBool(v)
			if err == nil {
				*field(o) = Off
				if on {
					*field(o) = On
				}
			}
			return err
		},
		func(o *Options) string { return field(o).String() }}
}

// text is a directive that is not looked into here. Its default is left empty.
func text(name, byDefault string, field func(*Options) *string) directive {
	return directive{name, byDefault,
		func(o *Options, v string) error {
			switch v {
			case "":
				return errors.New("it is empty")
			case byDefault:
				v = ""
			}
			*field(o) = v
			return nil
		},
		func(o *Options) string { return *field(o) }}
}

func interval(name string, byDefault, least time.Duration, field func(*Options) *time.Duration) directive {
	return directive{name, seconds(byDefault),
		func(o *Options, v string) error {
			d, err := ParseDuration(v)
			if err != nil {
				return err
			}
			if d = d.Round(time.Millisecond); d <= 0 {
				return fmt.Errorf("%s is not a positive time", quote(v))
			}
			*field(o) = d
			if d < least {
				*field(o) = least
				return warning(fmt.Sprintf("%s is less than %s, which is used", quote(v), seconds(least)))
			}
			return nil
		},
		func(o *Options) string {
			if *field(o) == 0 {
				return ""
			}
			return seconds(*field(o))
		}}
}

// maxDuration is the longest time that is read, about 31 years.
const maxDuration = 1e9 * time.Second

// ParseDuration reads a time as every directive and flag takes it: a decimal
// number of seconds, or numbers with units, such as "90s", "2m" or "1h30m". The
// result may be negative or 0; its absolute value is at most 1e9 s.
func ParseDuration(s string) (time.Duration, error) {
	var d time.Duration
	seconds, err := strconv.ParseFloat(s, 64)
	if err == nil {
		if !(math.Abs(seconds) <= maxDuration.Seconds()) { // NaN, too
			return 0, fmt.Errorf("%s is not a time of at most 1e9 s", quote(s))
		}
		d = time.Duration(seconds * float64(time.Second))
	} else if d, err = time.ParseDuration(s); err != nil {
		return 0, fmt.Errorf("%s is not a time, such as 90, 90s or 1h30m", quote(s))
	}
	if d.Abs() > maxDuration {
		return 0, fmt.Errorf("%s is not a time of at most 1e9 s", quote(s))
	}
	return d, nil
}

// warning is an error of a line by which nothing is lost.
type warning string

func (w warning) Error() string { return string(w) }

// directive handles what stands behind "xApMon_".
func (c *Config) directive(s string, known Known) error {
	name, value, ok := strings.Cut(s, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return fmt.Errorf("directive %s has no '='", quote(prefix+name))
	}
	for _, d := range directives() {
		if d.name == name {
			if err := setValue(value, func(v string) error { return d.set(&c.Options, v) }); err != nil {
				return fmt.Errorf(prefix+"%s: %w", name, err)
			}
			return nil
		}
	}
	if strings.HasSuffix(name, "_data_sent") {
		return nil
	}
	canonical := ""
	if known != nil {
		canonical, ok = known(name)
	}
	if canonical == "" || !ok {
		return fmt.Errorf("directive %s: %w", quote(prefix+name), warning("unknown, and ignored"))
	}
	err := setValue(value, func(v string) error {
		on, err := ParseBool(v)
		if err != nil {
			return err
		}
		p := Param{On: on}
		if name != canonical {
			p.Name = name
		}
		c.setParam(canonical, p)
		return nil
	})
	if err != nil {
		return fmt.Errorf(prefix+"%s: %w", name, err)
	}
	return nil
}

// setValue calls set with the value of a directive without its comment, and if
// it refuses that, with the first word: older clients read no further. Text that
// is left out is a warning, which does not show it, as set keeps its own.
func setValue(value string, set func(string) error) error {
	v := cutComment(value)
	err := set(v)
	warn := warning("")
	if word, rest := cutWord(v); err != nil && rest != "" && !errors.As(err, &warn) {
		v = word
		if e := set(word); e == nil || errors.As(e, &warn) {
			err = e
		}
	}
	if err == nil && v != value {
		return warning("the text behind the value is ignored")
	}
	return err
}

// ParseBool reads on, off, true, false, yes, no, 1 or 0, in any case. In older
// clients "0" and "no" often meant on, and "ON" off.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither on nor off", quote(s))
}

// LevelOff is above every level that is logged.
const LevelOff = slog.Level(math.MaxInt32)

// levels are the spellings of log levels in the family; the first of each
// level is the canonical one.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"OFF", LevelOff},
	{"FATAL", slog.LevelError + 4},
	{"ERROR", slog.LevelError}, {"SEVERE", slog.LevelError},
	{"WARNING", slog.LevelWarn}, {"WARN", slog.LevelWarn},
	{"INFO", slog.LevelInfo},
	{"NOTICE", slog.LevelInfo - 1}, // in this family it says more than INFO
	{"CONFIG", slog.LevelInfo - 2},
	{"DEBUG", slog.LevelDebug}, {"FINE", slog.LevelDebug}, {"FINER", slog.LevelDebug}, {"FINEST", slog.LevelDebug}, {"ALL", slog.LevelDebug},
}

// ParseLevel reads a log level in any spelling of the family, in any case:
// FATAL, SEVERE, ERROR, WARNING, INFO, NOTICE, CONFIG, DEBUG, FINE, FINER,
// FINEST, ALL, OFF.
func ParseLevel(s string) (slog.Level, error) {
	for _, l := range levels {
		if strings.EqualFold(l.name, s) {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("log level %s is none of FATAL ERROR WARNING INFO NOTICE DEBUG OFF", quote(s))
}

// levelName is the name of a level, empty for INFO, the default.
func levelName(level slog.Level) string {
	if level == slog.LevelInfo {
		return ""
	}
	for _, l := range levels {
		if l.level <= level {
			return l.name
		}
	}
	return "DEBUG"
}
