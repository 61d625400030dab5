package conf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
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
	if c.MaxMsgRate == 0 || other.MaxMsgRate != 0 && other.MaxMsgRate < c.MaxMsgRate {
		c.MaxMsgRate = other.MaxMsgRate
	}
	o := other.Options
	first(&c.LogLevel, o.LogLevel)
	first(&c.Recheck, o.Recheck)
	first(&c.RecheckInterval, o.RecheckInterval)
	first(&c.SysMonitoring, o.SysMonitoring)
	first(&c.SysInterval, o.SysInterval)
	first(&c.JobMonitoring, o.JobMonitoring)
	first(&c.JobInterval, o.JobInterval)
	first(&c.GeneralInfo, o.GeneralInfo)
	first(&c.Self, o.Self)
	if c.AccessLog.Input == "" {
		c.AccessLog = o.AccessLog
	}
	c.Own = append(slices.Clip(c.Own), o.Own...)
	for name, p := range o.Params {
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

// Problem is something in a configuration that could not be used.
type Problem struct {
	Source  string // file name, URL, variable or flag
	Line    int    // from 1; 0 where there are no lines
	Err     error
	Warning bool // it is only odd, and nothing is lost by it
}

// Error is "SOURCE:LINE: message".
func (p Problem) Error() string {
	s := p.Source
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Warning {
		s += ": warning"
	}
	return s + ": " + p.Err.Error()
}

func (p Problem) Unwrap() error { return p.Err }

// Known is a test for the names of monitoring options, such as "sys_load1" or
// "cpu_MHz": it returns the canonical name of one in any of its spellings, or
// false. This package does not know them itself; a nil Known knows none.
type Known func(option string) (canonical string, ok bool)

// Parse reads a configuration text. Source names it in the result and in the
// problems.
func Parse(source string, text []byte, known Known) (Config, []Problem) {
	c := Config{Source: source}
	problems := parseInto(&adder{c: &c}, source, text, known)
	return c, problems
}

// maxProblems is how many problems of a text are told one by one: a picture of
// 1 MiB would have hundreds of thousands.
const maxProblems = 1000

// parseInto adds what a text says, so that the files of a folder make one
// configuration.
func parseInto(a *adder, source string, text []byte, known Known) []Problem {
	var problems []Problem
	line, more, harmless := 0, 0, true
	for rest := bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")); len(rest) > 0; {
		var raw []byte
		raw, rest, _ = bytes.Cut(rest, []byte("\n"))
		line++
		s := string(bytes.TrimSpace(raw))
		if s == "" || s[0] == '#' {
			continue
		}
		var err error
		if name, ok := strings.CutPrefix(s, prefix); ok {
			if own, value, _ := strings.Cut(name, "="); a.isOwn(own) {
				a.c.Own = append(a.c.Own, Setting{strings.TrimSpace(own), strings.TrimSpace(value)})
				continue
			}
			err = a.c.directive(name, known)
		} else {
			err = a.line(s)
		}
		if err != nil {
			var warn warning
			p := Problem{source, line, err, errors.As(err, &warn)}
			if len(problems) < maxProblems {
				problems = append(problems, p)
			} else {
				more, harmless = more+1, harmless && p.Warning
			}
		}
	}
	if more > 0 {
		problems = append(problems, Problem{source, line, fmt.Errorf("%d more lines could not be used", more), harmless})
	}
	return problems
}

// ParseList reads a comma-separated list of destinations, the form of
// APMON_CONFIG. A password that is not in quotes ends at a comma; an entry behind
// it that has neither dot, colon nor bracket is taken for the rest of it, and is
// an error. Source names the list in the result and in the problems.
func ParseList(source, list string) (Config, []Problem) {
	c := Config{Source: source}
	a := adder{c: &c}
	var problems []Problem
	secret := false // what follows may belong to a password
	for i, item := range splitList(list) {
		addr, password := joinPort(cutWord(item))
		var err error
		if secret && !strings.ContainsAny(addr, ".:[") {
			err = fmt.Errorf("entry %d: a name without a dot behind a password (quote a password with commas)", i+1)
		} else {
			err = a.line(item)
			secret = cutComment(password) != "" && !strings.ContainsAny(password[:1], "\"'")
		}
		if err != nil {
			problems = append(problems, Problem{Source: source, Err: err})
		}
	}
	return c, problems
}

// maxDestinations is how many destinations a source may name: each costs a
// socket and, whenever it is rechecked, a look-up.
const maxDestinations = 1000

// adder adds destinations, each once.
type adder struct {
	c    *Config
	own  map[string]bool // see Reader
	seen map[string]int  // where in c.Destinations a name is
}

func (a *adder) isOwn(name string) bool {
	_, ok := a.own[strings.TrimSpace(name)]
	return ok
}

func (a *adder) line(s string) error {
	d, err := ParseDestination(s)
	if err != nil {
		return err
	}
	if len(a.c.Destinations) >= maxDestinations {
		return fmt.Errorf("destination %s is one too many: at most %d", quote(d.Name()), maxDestinations)
	}
	return a.add(d)
}

// has reports whether there is a destination of this name.
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

// add adds a destination that is not there yet. One without a password takes
// that of its double; of two passwords the first counts, and the second is an
// error.
func (a *adder) add(d Destination) error {
	if !a.has(d.Name()) {
		a.seen[d.Name()] = len(a.c.Destinations)
		a.c.Destinations = append(a.c.Destinations, d)
		return nil
	}
	old := &a.c.Destinations[a.seen[d.Name()]]
	first(&old.Password, d.Password)
	if d.Password != "" && d.Password != old.Password {
		return fmt.Errorf("destination %s is there already, with another password, which is used", quote(d.Name()))
	}
	return nil
}

// AddLine adds the destination that a line of a configuration names, unless it
// is there already. It is an error if it is there with another password, which
// stays.
func (c *Config) AddLine(line string) error { return (&adder{c: c}).line(line) }

// splitList splits at commas that are not inside a quoted password, and leaves
// out what is empty.
func splitList(list string) []string {
	var items []string
	var quote byte
	start := 0
	add := func(end int) {
		if item := strings.TrimSpace(list[start:end]); item != "" {
			items = append(items, item)
		}
		start = end + 1
	}
	for i := range len(list) {
		switch c := list[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && i > 0 && (list[i-1] == ' ' || list[i-1] == '\t'):
			quote = c
		case c == ',':
			add(i)
		}
	}
	add(len(list))
	return items
}

// Format prints the configuration as a file that reads back as the same. What
// has its default is told in a comment. Passwords are replaced by asterisks
// unless secrets is true.
func (c Config) Format(secrets bool) []byte {
	var b bytes.Buffer
	if c.Source != "" {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, c.Source))
	}
	for _, d := range directives() {
		if d.get == nil {
			continue
		}
		if v := d.get(&c.Options); v != "" {
			if !secrets && strings.Contains(v, "://") {
				v = redact(v)
			}
			fmt.Fprintf(&b, prefix+"%s = %s\n", d.name, v)
		} else {
			fmt.Fprintf(&b, "# "+prefix+"%s = %s\n", d.name, d.byDefault)
		}
	}
	for _, s := range c.Own {
		fmt.Fprintf(&b, prefix+"%s = %s\n", s.Name, strings.Map(printable, s.Value))
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

// ReadPassword reads a password from a file of one line. It waits 5 s at most
// for a pipe.
func ReadPassword(path string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), fetchTimeout)
	defer stop()
	text, err := readFile(ctx, path)
	if err != nil {
		return "", err
	}
	password := strings.TrimSpace(string(text))
	switch {
	case password == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("%s has more than one line", path)
	}
	if err := checkPassword(password); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return password, nil
}

// quote quotes text for an error message and shortens it if it is long.
func quote(s string) string { return safetext.Quote(s) }
