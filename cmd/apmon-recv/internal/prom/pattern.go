package prom

import (
	"fmt"
	"regexp"
	"strings"
)

// pattern matches a cluster, node or parameter.
type pattern struct {
	text string // as given; "" matches everything and captures nothing
	// parts are the texts between the stars of a glob, each of which captures.
	parts []string
	re    *regexp.Regexp // instead of a glob
}

func newPattern(text string, isRegex bool) (pattern, error) {
	p := pattern{text: text}
	var err error
	switch {
	case text == "":
	case isRegex:
		if _, err = regexp.Compile(text); err == nil {
			p.re, err = regexp.Compile(`^(?s:` + text + `)$`)
		}
	default:
		p.parts = strings.Split(text, "*")
	}
	if err != nil {
		return p, fmt.Errorf("%q: %w", text, err)
	}
	return p, nil
}

// captures returns the number of texts that match captures.
func (p *pattern) captures() int {
	switch {
	case p.re != nil:
		return p.re.NumSubexp()
	case p.text == "":
		return 0
	}
	return len(p.parts) - 1
}

// literal returns the only text that matches, if there is only one.
func (p *pattern) literal() (string, bool) {
	if p.re != nil {
		return p.text, regexp.QuoteMeta(p.text) == p.text
	}
	return p.text, p.text != "" && len(p.parts) == 1
}

// match matches the whole of s and appends what is captured. A star of a glob captures as
// little as it can, from the left.
func (p *pattern) match(s string, captured []string) ([]string, bool) {
	switch {
	case p.re != nil:
		m := p.re.FindStringSubmatchIndex(s)
		if m == nil {
			return captured, false
		}
		for i := 2; i < len(m); i += 2 {
			v := ""
			if m[i] >= 0 {
				v = s[m[i]:m[i+1]]
			}
			captured = append(captured, v)
		}
		return captured, true
	case p.text == "":
		return captured, true
	}
	first, last := p.parts[0], p.parts[len(p.parts)-1]
	if len(p.parts) == 1 {
		return captured, s == first
	}
	if len(s) < len(first)+len(last) || s[:len(first)] != first || s[len(s)-len(last):] != last {
		return captured, false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range p.parts[1 : len(p.parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return captured, false
		}
		captured = append(captured, s[:i])
		s = s[i+len(part):]
	}
	return append(captured, s), true
}

// covers reports whether everything that q matches is matched by p, as far as that is
// obvious: it may be so when it returns false.
func (p *pattern) covers(q *pattern) bool {
	if p.text == "" || p.text == "*" && p.re == nil || p.text == q.text && (p.re == nil) == (q.re == nil) {
		return true
	}
	if p.re != nil && (p.text == ".*" || p.text == "(.*)") {
		return true
	}
	if s, ok := q.literal(); ok {
		_, ok = p.match(s, nil)
		return ok
	}
	if p.re != nil || q.re != nil || q.text == "" {
		return false
	}
	// A star of q may be any text, also one that p does not have.
	_, ok := p.match(strings.Join(q.parts, "\x00"), nil)
	return ok
}

// template is a text with references to what patterns have captured.
type template []piece

type piece struct {
	text string // as it is, if ref is 0
	ref  int    // 1 is the first capture; refCluster, …
}

// References to whole names.
const (
	refCluster = -1 - iota
	refNode
	refParam
)

var (
	reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)
	wholes    = map[string]int{"cluster": refCluster, "node": refNode, "param": refParam}
)

// newTemplate parses $1, ${1}, $cluster, $node, $param; $$ is a dollar. Captures is the number
// of those that exist.
func newTemplate(text string, captures int) (template, error) {
	var t template
	add := func(s string) {
		if s != "" {
			t = append(t, piece{text: s})
		}
	}
	end := 0
	for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
		add(text[end:m[0]])
		end = m[1]
		name := ""
		switch {
		case m[2] >= 0:
			name = text[m[2]:m[3]]
		case m[4] >= 0:
			name = text[m[4]:m[5]]
		default:
			add("$")
			continue
		}
		ref, ok := wholes[name]
		if !ok {
			n := 0
			if _, err := fmt.Sscanf(name+" ", "%d ", &n); err != nil || n < 1 || n > captures || fmt.Sprint(n) != name {
				return nil, fmt.Errorf("%q: $%s: the patterns capture %d texts; write ${1}x for a capture before a letter, and $$ for a dollar", text, name, captures)
			}
			ref = n
		}
		t = append(t, piece{ref: ref})
	}
	if strings.Contains(text[end:], "$") {
		return nil, fmt.Errorf("%q: a dollar is written $$", text)
	}
	add(text[end:])
	return t, nil
}

// static returns the text of a template without references.
func (t template) static() (string, bool) {
	s := ""
	for _, p := range t {
		if p.ref != 0 {
			return "", false
		}
		s += p.text
	}
	return s, true
}

// names are what the references of templates stand for.
type names struct {
	cluster, node, param string
	captured             []string
}

func (t template) expand(b []byte, n *names) []byte {
	for _, p := range t {
		switch p.ref {
		case 0:
			b = append(b, p.text...)
		case refCluster:
			b = append(b, n.cluster...)
		case refNode:
			b = append(b, n.node...)
		case refParam:
			b = append(b, n.param...)
		default:
			b = append(b, n.captured[p.ref-1]...)
		}
	}
	return b
}
