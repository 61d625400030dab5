package conf

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Config is the configuration of one source: destinations, and the options that apply
// to them. It is a plain value that a program can also build itself; the zero value
// of every field means its default. [Config.Format] prints it as a file.
type Config struct {
	// Source is the name of its origin: a path, a URL without its password, or a
	// variable; empty for one that the program built.
	Source string
	// Destinations in the order of the source, each once.
	Destinations []Destination
	Options

	// plain maps the names of destinations that only plain-http sources name to the
	// first of these sources.
	plain map[string]string
}

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

func (c *Config) setPlain(name, source string) {
	if c.plain == nil {
		c.plain = map[string]string{}
	}
	c.plain[name] = source
}

// Equal reports whether two configurations are the same apart from their sources.
func (c Config) Equal(other Config) bool {
	return slices.EqualFunc(c.Destinations, other.Destinations, func(a, b Destination) bool {
		return a.Name() == b.Name() && a.Password == b.Password
	}) && c.Options.Equal(other.Options)
}

// Merge adds another configuration: its destinations that c does not have, and its
// options where those of c are at the default. Of two rates the lower counts.
func (c *Config) Merge(other Config) {
	c.Destinations, c.Switches = slices.Clone(c.Destinations), maps.Clone(c.Switches) // copies of c may share them
	a := adder{c: c}
	c.plain = maps.Clone(c.plain)
	for _, d := range other.Destinations {
		name := d.Name()
		if source, ok := other.plain[name]; !ok {
			delete(c.plain, name)
		} else if !a.has(name) {
			c.setPlain(name, source)
		}
		_ = a.add(d)
	}
	for _, d := range directives {
		d.merge(&c.Options, &other.Options)
	}
	c.Settings = append(slices.Clip(c.Settings), other.Settings...)
	for name, p := range other.Switches {
		if _, ok := c.Switches[name]; !ok {
			c.setParam(name, p)
		}
	}
}

func first[T comparable](to *T, v T) {
	var zero T
	if *to == zero {
		*to = v
	}
}

// SetDefaultPassword sets the password of the destinations that have none, except those
// that only plain-http sources name: anyone on the path to the server could have
// added them. It returns the sources of these.
func (c *Config) SetDefaultPassword(password string) (plain []string) {
	c.Destinations = slices.Clone(c.Destinations)
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if d.Password != "" {
			continue
		}
		if source, ok := c.plain[d.Name()]; !ok {
			d.Password = password
		} else if !slices.Contains(plain, source) {
			plain = append(plain, source)
		}
	}
	return plain
}

// AddLine adds the destination of a line, see [ParseDestination], unless c has it
// already. If c has it with another password, that password stays and AddLine
// returns an error.
func (c *Config) AddLine(line string) error { return (&adder{c: c}).line(line) }

// maxDestinations is the most destinations of a source: each costs a socket and, at each
// recheck, a look-up.
const maxDestinations = 1000

// adder adds destinations, each once.
type adder struct {
	c    *Config
	seen map[string]int // where in c.Destinations a name is
}

func (a *adder) line(s string) error {
	d, err := ParseDestination(s)
	if err != nil {
		return err
	}
	if len(a.c.Destinations) >= maxDestinations {
		return fmt.Errorf("destination %s is one too many: at most %d", safetext.Quote(d.Name()), maxDestinations)
	}
	return a.add(d)
}

// has reports whether there is a destination of that name.
func (a *adder) has(name string) bool {
	if a.seen == nil {
		a.seen = map[string]int{}
		for i, old := range a.c.Destinations {
			a.seen[old.Name()] = i
		}
	}
	_, ok := a.seen[name]
	return ok
}

// add adds a destination, unless there is one of that name. If only one of the two
// has a password, that password is used. Of two passwords the first is used, and the
// second is an error.
func (a *adder) add(d Destination) error {
	if !a.has(d.Name()) {
		a.seen[d.Name()] = len(a.c.Destinations)
		a.c.Destinations = append(a.c.Destinations, d)
		return nil
	}
	old := &a.c.Destinations[a.seen[d.Name()]]
	first(&old.Password, d.Password)
	if d.Password != "" && d.Password != old.Password {
		return fmt.Errorf("destination %s is there already, with another password, which is used", safetext.Quote(d.Name()))
	}
	return nil
}

// Format prints the configuration as a file that parses to an equal one. Options at
// their defaults are comments. Passwords are replaced by asterisks unless secrets is
// true.
func (c Config) Format(secrets bool) []byte {
	var b bytes.Buffer
	if c.Source != "" {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, c.Source))
	}
	for _, d := range directives {
		if v := d.format(&c.Options); v != "" {
			fmt.Fprintf(&b, prefix+"%s = %s\n", d.name, v)
		} else if v := d.byDefault(); v != "" {
			fmt.Fprintf(&b, "# "+prefix+"%s = %s\n", d.name, v)
		}
	}
	for _, s := range c.Settings {
		v := s.Value
		if !secrets && strings.Contains(v, "://") {
			v = redact(v)
		}
		fmt.Fprintf(&b, prefix+"%s = %s\n", s.Name, strings.Map(printable, v))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Switches)) {
		p := c.Switches[name]
		if p.Name != "" {
			name = p.Name
		}
		fmt.Fprintf(&b, prefix+"%s = %s\n", name, onOff(p.On))
	}
	for _, d := range c.Destinations {
		b.WriteString(d.Name())
		if d.Password != "" {
			password := "********"
			if secrets {
				password = quotePassword(d.Password)
			}
			b.WriteString(" " + password)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// seconds formats a time as directives have it.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
