package conf

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// DefaultSource is the name of the source that [FromEnv] returns if neither the
// environment nor the system has one.
const DefaultSource = "default"

// FromEnv returns the sources that the environment names: those of APMON_CONFIG in any
// of its dialects (see [ParseSource]), else of MONALISA_HOST or MONALISAHOST, else the
// file named system (usually [SystemFile]) if it exists, else this host, port 8884. An empty
// variable counts as unset.
func FromEnv(getenv func(string) string, system string) ([]Source, error) {
	if v := strings.TrimSpace(getenv("APMON_CONFIG")); v != "" {
		return ParseSource("APMON_CONFIG", v)
	}
	for _, name := range []string{"MONALISA_HOST", "MONALISAHOST"} {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			return []Source{List(name, v)}, nil
		}
	}
	if _, err := os.Stat(system); err == nil || !errors.Is(err, os.ErrNotExist) {
		return []Source{File(system)}, nil
	}
	return []Source{List(DefaultSource, "127.0.0.1")}, nil
}

// ParseSource parses a string in any dialect of APMON_CONFIG: a URL; the
// path of a file or folder, which ends in ".conf", contains a slash, or exists; a
// comma-separated list of "host[:port][ password]"; or a Perl literal, which is a
// string, a list of strings, or a hash of destinations with their options:
//
//	['h:p', 'h2']
//	{'h' => {loglevel => 'NOTICE', sys_monitoring => 0}}
//	"http://…"
//
// Perl is parsed, never evaluated. Name identifies sources without a name of their own
// in messages.
func ParseSource(name, s string) ([]Source, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return nil, fmt.Errorf("%s: empty", name)
	case isPerl(s):
		return perlSources(name, s)
	}
	return []Source{plainSource(name, s)}, nil
}

// plainSource is a URL, a file or a list.
func plainSource(name, s string) Source {
	switch {
	case isURL(s):
		return URL(s)
	case isFile(s):
		return File(s)
	}
	return List(name, s)
}

// isURL also accepts other schemes, which are refused when they are fetched. As a
// file name, a URL would be shown with its password.
func isURL(s string) bool {
	i := strings.IndexAny(s, "/ \t,")
	return i > 1 && s[i-1] == ':' && strings.HasPrefix(s[i:], "//")
}

// isFile distinguishes the path of a file or folder from a list of
// destinations, first by its form: a missing file must not become a host, nor an
// address a file. A slash after a blank or comma may be part of a password.
func isFile(s string) bool {
	i := strings.IndexAny(s, "/ \t,")
	if i >= 0 && s[i] == '/' || i < 0 && strings.HasSuffix(s, ".conf") {
		return true
	}
	item, _, _ := strings.Cut(s, ",")
	if addr, _ := joinPort(cutWord(item)); hasPort(addr) {
		return false
	}
	info, err := os.Stat(s)
	return err == nil && (info.IsDir() || info.Mode().IsRegular())
}
