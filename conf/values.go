package conf

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Switch is a boolean that can also be at its default.
type Switch int8

const (
	Default Switch = iota
	On
	Off
)

// Or returns the switch as a boolean, byDefault for [Default].
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

// maxDuration is the longest time, about 31 years.
const maxDuration = 1e9 * time.Second

// ParseDuration parses a time in the form that all directives and flags use: a decimal
// number of seconds, or numbers with units, such as "90s", "2m" or "1h30m". The result may be
// negative or 0; its absolute value is at most 1e9 s.
func ParseDuration(s string) (time.Duration, error) {
	var d time.Duration
	seconds, err := strconv.ParseFloat(s, 64)
	if err == nil {
		if !(math.Abs(seconds) <= maxDuration.Seconds()) { // also NaN
			return 0, fmt.Errorf("%s is not a time of at most 1e9 s", safetext.Quote(s))
		}
		d = time.Duration(seconds * float64(time.Second))
	} else if d, err = time.ParseDuration(s); err != nil {
		return 0, fmt.Errorf("%s is not a time, such as 90, 90s or 1h30m", safetext.Quote(s))
	}
	if d.Abs() > maxDuration {
		return 0, fmt.Errorf("%s is not a time of at most 1e9 s", safetext.Quote(s))
	}
	return d, nil
}

// ParseBool parses on, off, true, false, yes, no, 1 or 0, in any case. Older clients
// often read "0" and "no" as on, and "ON" as off.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither on nor off", safetext.Quote(s))
}

// LevelOff is above every level that is logged.
const LevelOff = slog.Level(math.MaxInt32)

// levels are the spellings of log levels in ApMon clients; the first of each level is
// the canonical one.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"OFF", LevelOff},
	{"FATAL", slog.LevelError + 4},
	{"ERROR", slog.LevelError}, {"SEVERE", slog.LevelError},
	{"WARNING", slog.LevelWarn}, {"WARN", slog.LevelWarn},
	{"INFO", slog.LevelInfo},
	{"NOTICE", slog.LevelInfo - 1}, // here it is more verbose than INFO
	{"CONFIG", slog.LevelInfo - 2},
	{"DEBUG", slog.LevelDebug}, {"FINE", slog.LevelDebug}, {"FINER", slog.LevelDebug}, {"FINEST", slog.LevelDebug}, {"ALL", slog.LevelDebug},
}

// ParseLevel parses a log level in any spelling of ApMon clients, in any case: FATAL,
// SEVERE, ERROR, WARNING, INFO, NOTICE, CONFIG, DEBUG, FINE, FINER, FINEST, ALL, OFF.
func ParseLevel(s string) (slog.Level, error) {
	for _, l := range levels {
		if strings.EqualFold(l.name, s) {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("log level %s is none of FATAL ERROR WARNING INFO NOTICE DEBUG OFF", safetext.Quote(s))
}

// levelName returns the canonical name of a level.
func levelName(level slog.Level) string {
	for _, l := range levels {
		if l.level <= level {
			return l.name
		}
	}
	return "DEBUG"
}
