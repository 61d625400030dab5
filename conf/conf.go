package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/xdr"
)

// SystemFile is where the commands look for destinations if nothing else names
// any.
const SystemFile = "/etc/apmon/destinations.conf"

// maxSize is the size in bytes of the largest configuration that is read.
const maxSize = 1 << 20

// Config is what a client is made with. The zero value of every field means
// its default.
type Config struct {
	// Destinations in the order in which they were named, each once.
	Destinations []Destination
	// MaxMsgRate is how many messages a second may be sent (one that takes n
	// datagrams counts n). 0 means the client's default.
	MaxMsgRate float64
	// LogLevel is the least severe level that the commands log.
	LogLevel slog.Level
}

// Problem is something in a configuration that could not be used.
type Problem struct {
	Source string // file name, variable or flag
	Line   int    // from 1; 0 where there are no lines
	Err    error
}

// Error is "SOURCE:LINE: message".
func (p Problem) Error() string {
	if p.Line == 0 {
		return p.Source + ": " + p.Err.Error()
	}
	return p.Source + ":" + strconv.Itoa(p.Line) + ": " + p.Err.Error()
}

func (p Problem) Unwrap() error { return p.Err }

// Parse reads a configuration text. Source names it in the problems.
func Parse(source string, text []byte) (Config, []Problem) {
	var c Config
	var problems []Problem
	line := 0
	for rest := bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")); len(rest) > 0; {
		var raw []byte
		raw, rest, _ = bytes.Cut(rest, []byte("\n"))
		line++
		s := strings.TrimSpace(string(raw))
		var err error
		switch name, isDirective := strings.CutPrefix(s, "xApMon_"); {
		case s == "" || s[0] == '#':
		case isDirective:
			err = c.directive(name)
		default:
			err = c.AddLine(s)
		}
		if err != nil {
			problems = append(problems, Problem{source, line, err})
		}
	}
	return c, problems
}

// AddLine adds the destination that a line of a configuration names, unless it
// is there already.
func (c *Config) AddLine(line string) error {
	d, err := ParseDestination(line)
	if err != nil {
		return err
	}
	c.add(d)
	return nil
}

// directive handles what stands behind "xApMon_".
func (c *Config) directive(s string) error {
	name, value, ok := strings.Cut(s, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return fmt.Errorf("directive %s has no '='", xdr.Quote("xApMon_"+name))
	}
	switch name {
	case "loglevel":
		level, err := ParseLevel(value)
		if err != nil {
			return fmt.Errorf("xApMon_loglevel: %w", err)
		}
		c.LogLevel = level
	case "maxMsgRate":
		rate, err := strconv.ParseFloat(value, 64)
		if err != nil || !(rate > 0) || math.IsInf(rate, 0) {
			return fmt.Errorf("xApMon_maxMsgRate: %s is not a positive number of messages a second", xdr.Quote(value))
		}
		c.MaxMsgRate = rate
	}
	return nil
}

// LevelOff is above every level that is logged.
const LevelOff = slog.Level(math.MaxInt32)

// ParseLevel reads a log level in any spelling of the family: FATAL, SEVERE,
// ERROR, WARNING, INFO, NOTICE, DEBUG, CONFIG, FINE, FINER, FINEST, ALL, OFF,
// in any case.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(s) {
	case "OFF":
		return LevelOff, nil
	case "FATAL":
		return slog.LevelError + 4, nil
	case "ERROR", "SEVERE":
		return slog.LevelError, nil
	case "WARNING", "WARN":
		return slog.LevelWarn, nil
	case "NOTICE":
		return slog.LevelInfo + 2, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "DEBUG", "CONFIG", "FINE", "FINER", "FINEST", "ALL":
		return slog.LevelDebug, nil
	}
	return 0, fmt.Errorf("log level %s is none of FATAL ERROR WARNING NOTICE INFO DEBUG OFF", xdr.Quote(s))
}

// IsURL tells the URL of a configuration from the name of a file.
func IsURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

func errURL(s string) error {
	return fmt.Errorf("%s: this version reads configurations from files only", s)
}

// ReadFile reads and parses a configuration file of at most 1 MiB. The error
// says why it could not be read; problems are those of its lines.
func ReadFile(path string) (Config, []Problem, error) {
	if IsURL(path) {
		return Config{}, nil, errURL(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Config{}, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s: more than %d bytes", path, maxSize)
	}
	if err != nil {
		return Config{}, nil, err
	}
	c, problems := Parse(path, text)
	return c, problems, nil
}

// ParseList reads a comma-separated list of destinations. Source names it in
// the problems.
func ParseList(source, list string) (Config, []Problem) {
	var c Config
	var problems []Problem
	for _, item := range splitList(list) {
		if err := c.AddLine(item); err != nil {
			problems = append(problems, Problem{Source: source, Err: err})
		}
	}
	return c, problems
}

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

// FromEnv finds the destinations of a command that was given none: those of
// APMON_CONFIG (a comma-separated list, or the name of a file), else of
// MONALISA_HOST or MONALISAHOST, else of the file system (usually
// [SystemFile]; it need not exist), else this host, port 8884. An empty
// variable counts as unset.
func FromEnv(getenv func(string) string, system string) (Config, []Problem, error) {
	if v := strings.TrimSpace(getenv("APMON_CONFIG")); v != "" {
		if IsURL(v) {
			return Config{}, nil, fmt.Errorf("APMON_CONFIG: %w", errURL(v))
		}
		if isFile(v) {
			c, problems, err := ReadFile(v)
			if err != nil {
				err = fmt.Errorf("APMON_CONFIG: %w", err)
			}
			return c, problems, err
		}
		c, problems := ParseList("APMON_CONFIG", v)
		return c, problems, nil
	}
	for _, name := range []string{"MONALISA_HOST", "MONALISAHOST"} {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			c, problems := ParseList(name, v)
			return c, problems, nil
		}
	}
	c, problems, err := ReadFile(system)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, problems, err
	}
	return Config{Destinations: []Destination{{Host: "127.0.0.1", Port: DefaultPort}}}, nil, nil
}

// isFile tells a file from a list of destinations: one that is there is meant,
// and a slash is in no host name, though it may be in a password.
func isFile(s string) bool {
	if i := strings.IndexAny(s, "/ \t,"); i >= 0 && s[i] == '/' {
		return true
	}
	info, err := os.Stat(s)
	return err == nil && !info.IsDir()
}

// ReadPassword reads a password from a file of one line.
func ReadPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+3))
	if err != nil {
		return "", err
	}
	password := strings.TrimSpace(string(text))
	switch {
	case password == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("%s has more than one line", path)
	case len(password) > maxPassword:
		return "", fmt.Errorf("%s holds more than the %d bytes of the longest password", path, maxPassword)
	}
	return password, nil
}

// Merge adds what another configuration holds: its destinations that are not
// there yet, and its settings where they are not the default. Of two rates the
// lower counts.
func (c *Config) Merge(other Config) {
	for _, d := range other.Destinations {
		c.add(d)
	}
	if c.MaxMsgRate == 0 || other.MaxMsgRate != 0 && other.MaxMsgRate < c.MaxMsgRate {
		c.MaxMsgRate = other.MaxMsgRate
	}
	if other.LogLevel != 0 {
		c.LogLevel = other.LogLevel
	}
}

// add adds a destination that is not there yet. One without a password takes
// that of its double.
func (c *Config) add(d Destination) {
	for i := range c.Destinations {
		if old := &c.Destinations[i]; old.Name() == d.Name() {
			if old.Password == "" {
				old.Password = d.Password
			}
			return
		}
	}
	c.Destinations = append(c.Destinations, d)
}
