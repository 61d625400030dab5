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

// Config is what one source says: destinations, and the options that apply to
// them. It is a plain value that can be made by hand; the zero value of every
// field means its default. [Config.Format] prints it as a file.
type Config struct {
	// Source names where it comes from: a path, a URL without its password, a
	// variable. Empty if made by hand.
	Source string
	// Destinations in the order in which they were named, each once.
	Destinations []Destination
	Options

	// plain holds the destinations, by name, that only plain-http sources have
	// named, and the first of these sources.
	plain map[string]string
}

func (c *Config) setPlain(name, source string) {
	if c.plain == nil {
		c.plain = map[string]string{}
	}
	c.plain[name] = source
}

// Equal reports whether two configurations say the same; where they come from
// does not matter.
func (c Config) Equal(other Config) bool {
	return slices.EqualFunc(c.Destinations, other.Destinations, func(a, b Destination) bool {
		return a.Name() == b.Name() && a.Password == b.Password
	}) && c.Options.Equal(other.Options)
}

// Merge adds what another configuration holds: its destinations that are not
// there yet, and its settings where ours are the default. Of two rates the
// lower counts.
func (c *Config) Merge(other Config) {
	c.Destinations, c.Params = slices.Clone(c.Destinations), maps.Clone(c.Params) // copies of c may share them
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
	for _, d := range directives() {
		d.merge(&c.Options, &other.Options)
	}
	c.Settings = append(slices.Clip(c.Settings), other.Settings...)
	for name, p := range other.Params {
		if _, ok := c.Params[name]; !ok {
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

// DefaultPassword gives a password to the destinations that have none, but for
// those that only plain-http sources name: anyone on the way to the server could
// have named them. It returns the sources of these.
func (c *Config) DefaultPassword(password string) (plain []string) {
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

// AddLine adds the destination that a line of a configuration names, unless it
// is there already. It is an error if it is there with another password, which
// stays.
func (c *Config) AddLine(line string) error { return (&adder{c: c}).line(line) }

// Format prints the configuration as a file that reads back as the same. What
// has its default is told in a comment. Passwords are replaced by asterisks
// unless secrets is true.
func (c Config) Format(secrets bool) []byte {
	var b bytes.Buffer
	if c.Source != "" {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, c.Source))
	}
	for _, d := range directives() {
		if d.format == nil {
			continue
		}
		if v := d.format(&c.Options); v != "" {
			fmt.Fprintf(&b, prefix+"%s = %s\n", d.name, v)
		} else {
			fmt.Fprintf(&b, "# "+prefix+"%s = %s\n", d.name, d.byDefault)
		}
	}
	for _, s := range c.Settings {
		v := s.Value
		if !secrets && strings.Contains(v, "://") {
			v = redact(v)
		}
		fmt.Fprintf(&b, prefix+"%s = %s\n", s.Name, strings.Map(printable, v))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		p := c.Params[name]
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

// seconds prints a time as a directive takes it.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
