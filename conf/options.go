package conf

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"
)

// Options are the directives of a source. They apply to its destinations only,
// except the rate: the lowest of all sources limits the client.
type Options struct {
	// LogLevel is the least severe level that the commands log.
	LogLevel slog.Level
	// MaxMsgRate is the limit in datagrams a second. 0 means [DefaultMaxMsgRate].
	MaxMsgRate float64
	// Recheck switches whether the source is read again, by default on.
	Recheck Switch
	// RecheckInterval is the time between two reads, by default
	// [DefaultRecheck], at least [MinRecheck].
	RecheckInterval time.Duration
	// SysMonitoring, JobMonitoring and GeneralInfo switch the reports of the
	// host, of jobs, and of the host's constant properties; by default on. The intervals are
	// [DefaultInterval] by default, and at least [MinInterval].
	SysMonitoring, JobMonitoring, GeneralInfo Switch
	SysInterval, JobInterval                  time.Duration
	// Self switches the sender's own statistics, by default on.
	Self Switch
	// Switches switches single parameters; the key is the canonical name of the
	// option, such as "sys_load1", "job_rss" or "cpu_MHz".
	Switches map[string]ParamSwitch
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
	// DefaultMaxMsgRate is the rate limit in datagrams a second. Receivers
	// silently drop datagrams over 50 a second from one address.
	DefaultMaxMsgRate = 40
	DefaultRecheck    = 600 * time.Second
	DefaultInterval   = 120 * time.Second
	// MinInterval is the shortest time between two reports of the host or of a job.
	MinInterval = time.Second
	// MinRecheck is the shortest time between two reads of a source.
	MinRecheck = 30 * time.Second
)

// Equal reports whether two sets of options are the same. The sources of settings
// do not matter.
func (o Options) Equal(other Options) bool {
	if !maps.Equal(o.Switches, other.Switches) || !slices.EqualFunc(o.Settings, other.Settings, func(a, b Setting) bool {
		return a.Name == b.Name && a.Value == b.Value
	}) {
		return false
	}
	o.Switches, other.Switches, o.Settings, other.Settings = nil, nil, nil, nil
	return reflect.DeepEqual(o, other)
}

func (c *Config) setParam(name string, p ParamSwitch) {
	if c.Switches == nil {
		c.Switches = map[string]ParamSwitch{}
	}
	c.Switches[name] = p
}
