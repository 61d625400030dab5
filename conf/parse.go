package conf

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Problem is a part of a configuration that could not be used.
type Problem struct {
	Source  string // file name, URL, variable or flag
	Line    int    // from 1; 0 where there are no lines
	Err     error
	Warning bool // the line was used, or has no effect
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

// OptionLookup finds a monitoring option, such as "sys_load1" or "cpu_MHz", by any of
// its spellings. It returns the canonical name, or false if there is no such option. A
// nil OptionLookup finds none: this package does not know the options.
type OptionLookup func(option string) (canonical string, ok bool)

func (l OptionLookup) find(option string) (canonical string, ok bool) {
	if l != nil {
		canonical, ok = l(option)
	}
	return canonical, ok && canonical != ""
}

// Parse reads a configuration text. Source names it in the result and in the
// problems.
func Parse(source string, text []byte, lookup OptionLookup) (Config, []Problem) {
	c := Config{Source: source}
	p := parser{adder: adder{c: &c}, lookup: lookup}
	return c, p.parse(source, text)
}

// maxProblems is how many problems of a text are reported one by one: a binary file
// of 1 MiB has hundreds of thousands.
const maxProblems = 1000

// parser reads texts into one configuration, such as the files of a folder.
type parser struct {
	adder
	lookup     OptionLookup
	directives []Directive
	remote     bool // the texts are from a URL
}

func (p *parser) parse(source string, text []byte) []Problem {
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
			err = p.directive(name)
		} else {
			err = p.line(s)
		}
		if err != nil {
			problem := Problem{source, line, err, isWarning(err)}
			if len(problems) < maxProblems {
				problems = append(problems, problem)
			} else {
				more, harmless = more+1, harmless && problem.Warning
			}
		}
	}
	if more > 0 {
		problems = append(problems, Problem{source, line, fmt.Errorf("%d more lines could not be used", more), harmless})
	}
	return problems
}

// ParseList reads a comma-separated list of destinations, the form of APMON_CONFIG. An
// unquoted password ends at a comma. If the entry after it has neither dot, colon nor
// bracket, it may be the rest of the password and is an error. Source names the list in
// the result and in the problems.
func ParseList(source, list string) (Config, []Problem) {
	c := Config{Source: source}
	a := adder{c: &c}
	var problems []Problem
	secret := false // the next entry may belong to a password
	for i, item := range splitList(list) {
		addr, password := joinPort(cutWord(item))
		var err error
		if secret && !strings.ContainsAny(addr, ".:[") {
			err = fmt.Errorf("entry %d: a name without a dot after a password (quote a password with commas)", i+1)
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

// splitList splits at commas outside quoted passwords, and omits empty items.
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
