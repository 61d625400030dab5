package conf

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
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
