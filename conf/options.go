package conf

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are the directives of a source. They apply to its destinations only,
// except the rate: the lowest of all sources limits the client.
type Options struct {
	// LogLevel is the least severe level that the commands log.
	LogLevel slog.Level
	// MaxMsgRate is the limit in datagrams a second. 0 means [DefaultMaxMsgRate].
	MaxMsgRate float64
	// Recheck switches reading the source again, by default on.
	Recheck Switch
	// RecheckInterval is the time between two reads, by default
	// [DefaultRecheck], at least [MinRecheck].
	RecheckInterval time.Duration
	// SysMonitoring, JobMonitoring and GeneralInfo switch the reports of the
	// host, of jobs, and of what seldom changes; by default on. The intervals are
	// [DefaultInterval] by default, and at least [MinInterval].
	SysMonitoring, JobMonitoring, GeneralInfo Switch
	SysInterval, JobInterval                  time.Duration
	// Self switches the sender's own statistics, by default on.
	Self Switch
	// Params switches single parameters; the key is the canonical name of the
	// option, such as "sys_load1", "job_rss" or "cpu_MHz".
	Params map[string]ParamSwitch
	// Settings are the directives that the program registered with
	// [Reader.Directives], in the order of the file.
	Settings []Setting
}

// ParamSwitch switches one monitored parameter on or off.
type ParamSwitch struct {
	On   bool
	Name string // the option as the file spells it, if that is not the canonical name
}

// Defaults and limits of options.
const (
	// DefaultMaxMsgRate is the rate limit in datagrams a second: receivers drop,
	// silently, what exceeds 50 a second from one address.
	DefaultMaxMsgRate = 40
	DefaultRecheck    = 600 * time.Second
	DefaultInterval   = 120 * time.Second
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

// Equal reports whether two sets of options are the same. The sources of settings
// do not matter.
func (o Options) Equal(other Options) bool {
	if !maps.Equal(o.Params, other.Params) || !slices.EqualFunc(o.Settings, other.Settings, func(a, b Setting) bool {
		return a.Name == b.Name && a.Value == b.Value
	}) {
		return false
	}
	o.Params, other.Params, o.Settings, other.Settings = nil, nil, nil, nil
	return reflect.DeepEqual(o, other)
}

func (c *Config) setParam(name string, p ParamSwitch) {
	if c.Params == nil {
		c.Params = map[string]ParamSwitch{}
	}
	c.Params[name] = p
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
