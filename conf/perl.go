package conf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apmon-go/apmon/internal/safetext"
)

// isPerl distinguishes a Perl literal from other dialects, also from [address]:port.
func isPerl(s string) bool {
	switch s[0] {
	case '{', '"', '\'':
		return true
	case '[':
		rest := strings.TrimSpace(s[1:])
		return rest == "" || strings.IndexByte(`"'{[]#`, rest[0]) >= 0 || strings.HasPrefix(rest, "undef")
	}
	return false
}

// perlSources parses a literal. A string, alone or in a list, is a source; each key of a
// hash is a destination with its own options.
func perlSources(name, s string) ([]Source, error) {
	p := perl{s: s}
	v, err := p.value(0)
	if err == nil {
		p.space()
		p.accept(";")
		if p.space(); p.i < len(p.s) {
			err = p.fail("text after the literal")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if v.list == nil && v.hash == nil && strings.TrimSpace(v.text) != "" {
		return []Source{plainSource(name, strings.TrimSpace(v.text))}, nil
	}
	var sources []Source
	var hosts []string // one source for all of them
	var walk func(v perlValue) error
	walk = func(v perlValue) error {
		switch {
		case v.list != nil:
			for _, e := range v.list {
				if err := walk(e); err != nil {
					return err
				}
			}
		case v.hash != nil:
			for _, e := range v.hash {
				text, err := e.lines()
				if err != nil {
					return err
				}
				sources = append(sources, Text(name, text))
			}
		default:
			s := strings.TrimSpace(v.text)
			if s == "" {
				return nil // undef
			}
			if err := checkLine(s); err != nil {
				return err
			}
			if src := plainSource(name, s); src.kind == list {
				hosts = append(hosts, s)
			} else {
				sources = append(sources, src)
			}
		}
		return nil
	}
	if err := walk(v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(hosts) > 0 {
		sources = append([]Source{Text(name, strings.Join(hosts, "\n"))}, sources...)
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s: nothing in the literal", name)
	}
	return sources, nil
}

// perlValue is a string or number, a list, or a hash in its order.
type perlValue struct {
	text string
	list []perlValue
	hash []perlPair
}

type perlPair struct {
	key   string
	value perlValue
}

// lines formats a destination of a hash, with its options, as a configuration.
func (p perlPair) lines() (string, error) {
	key := strings.TrimSpace(p.key)
	if key == "" {
		return "", errors.New("a hash with an empty destination")
	}
	if err := checkLine(key + " " + p.value.text); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, o := range p.value.hash {
		if o.value.list != nil || o.value.hash != nil || strings.ContainsAny(o.key+o.value.text, "\r\n") {
			return "", fmt.Errorf("option %s of %s is not a word or number", safetext.Quote(o.key), quoteHost(key))
		}
		fmt.Fprintf(&b, prefix+"%s = %s\n", strings.TrimPrefix(o.key, prefix), o.value.text)
	}
	if p.value.list != nil {
		return "", fmt.Errorf("a list in place of the options of %s", quoteHost(key))
	}
	b.WriteString(key)
	if password := p.value.text; password != "" && p.value.hash == nil {
		b.WriteString(" " + quotePassword(password))
	}
	return b.String(), nil
}

// checkLine refuses a destination that a configuration would read as another kind of
// line, or as several lines.
func checkLine(s string) error {
	if strings.ContainsAny(s, "\r\n") || s != "" && s[0] == '#' || strings.HasPrefix(s, prefix) {
		return fmt.Errorf("%s is not a destination", quoteHost(s))
	}
	return nil
}

// quoteHost quotes a destination without its password.
func quoteHost(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		s = s[:i]
	}
	return shown(s)
}

// perl parses the Perl literals that configurations use: strings, words, numbers, lists
// and hashes.
type perl struct {
	s string
	i int
}

const maxDepth = 8

func (p *perl) fail(what string) error {
	return fmt.Errorf("not a Perl literal: %s at character %d", what, p.i+1)
}

// space skips white space and comments.
func (p *perl) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		case '#':
			n := strings.IndexByte(p.s[p.i:], '\n')
			if n < 0 {
				n = len(p.s) - p.i
			}
			p.i += n
		default:
			return
		}
	}
}

func (p *perl) accept(token string) bool {
	p.space()
	if strings.HasPrefix(p.s[p.i:], token) {
		p.i += len(token)
		return true
	}
	return false
}

func (p *perl) value(depth int) (perlValue, error) {
	if depth > maxDepth {
		return perlValue{}, p.fail("too many brackets")
	}
	switch {
	case p.accept("["):
		v := perlValue{list: []perlValue{}}
		for !p.accept("]") {
			e, err := p.value(depth + 1)
			if err != nil {
				return v, err
			}
			v.list = append(v.list, e)
			if !p.accept(",") && !p.peek(']') {
				return v, p.fail("no ',' or ']'")
			}
		}
		return v, nil
	case p.accept("{"):
		v := perlValue{hash: []perlPair{}}
		for !p.accept("}") {
			key, err := p.text()
			if err != nil {
				return v, err
			}
			if !p.accept("=>") && !p.accept(",") {
				return v, p.fail("no '=>'")
			}
			e, err := p.value(depth + 1)
			if err != nil {
				return v, err
			}
			v.hash = append(v.hash, perlPair{key, e})
			if !p.accept(",") && !p.peek('}') {
				return v, p.fail("no ',' or '}'")
			}
		}
		return v, nil
	}
	text, err := p.text()
	return perlValue{text: text}, err
}

func (p *perl) peek(c byte) bool {
	p.space()
	return p.i < len(p.s) && p.s[p.i] == c
}

// text parses a quoted string or a bare word. It refuses variables, and escapes such
// as \x41, which Perl would evaluate in double quotes.
func (p *perl) text() (string, error) {
	p.space()
	if p.i == len(p.s) {
		return "", p.fail("it ends too early")
	}
	quote := p.s[p.i]
	if quote != '"' && quote != '\'' {
		n := p.i
		for n < len(p.s) && isWord(p.s[n]) {
			n++
		}
		word := p.s[p.i:n]
		if word == "" {
			return "", p.fail("no string, word or number")
		}
		p.i = n
		if word == "undef" {
			word = ""
		}
		return word, nil
	}
	var b strings.Builder
	for i := p.i + 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == quote:
			p.i = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(p.s):
			i++
			if next := p.s[i]; quote == '\'' && next != '\'' && next != '\\' {
				b.WriteByte('\\')
				b.WriteByte(next)
			} else if quote == '"' && isWord(next) && next != '.' && next != '-' && next != ':' {
				p.i = i - 1
				return "", p.fail("an escape, which is not evaluated,")
			} else {
				b.WriteByte(next)
			}
		case quote == '"' && isVariable(p.s[i:]):
			p.i = i
			return "", p.fail("a variable, which is not evaluated,")
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("no closing quote of the string")
}

// isVariable reports whether Perl would read a variable at the start of s, within a
// string.
func isVariable(s string) bool {
	switch {
	case len(s) < 2:
		return false
	case s[0] == '$':
		return s[1] != '"' && s[1] != ' '
	case s[0] == '@':
		return isWord(s[1]) && s[1] != '.' || s[1] == '{' || s[1] == '$' || s[1] == '+'
	}
	return false
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-' || c == ':'
}
