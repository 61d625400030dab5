// Package docs_test checks the pages of this folder and the README: generated pages are
// current, links lead somewhere, commands run as written, and Go code compiles.
package docs_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/metrics"
)

// page is a Markdown file.
type page struct {
	name   string // relative to the root of the repository, with slashes
	text   string
	blocks []block
	prose  string // the text without blocks
}

// block is a fenced block of code.
type block struct {
	line     int
	language string
	options  string // the words behind the language
	text     string
}

// pages returns the README, CONTRIBUTING and all pages of this folder.
func pages(t *testing.T) (list []page) {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	names := []string{"README.md", "CONTRIBUTING.md"}
	for _, f := range files {
		names = append(names, "docs/"+f)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, parse(t, name, string(text)))
	}
	return list
}

// parse finds the fenced blocks of a page.
func parse(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name, text: text}
	var prose strings.Builder
	var open *block
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{line: i + 1}
			open.language, open.options, _ = strings.Cut(strings.TrimSpace(fence), " ")
		case isFence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			prose.WriteString(line + "\n")
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the block has no end", name, open.line)
	}
	p.prose = prose.String()
	return p
}

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`)
	inline   = regexp.MustCompile("`[^`\n]+`")
	headings = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchors returns the names that a web view gives the headings of a page.
func (p page) anchors() (names []string) {
	for _, m := range headings.FindAllStringSubmatch(p.prose, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r >= 'A' && r <= 'Z':
				return r + 'a' - 'A'
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r > 127 && r != '…':
				return r
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(m[1]))
		names = append(names, name)
	}
	return names
}

// Links to files and to headings of pages lead somewhere, and the index has each page.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	anchors := map[string][]string{}
	for _, p := range all {
		anchors[p.name] = p.anchors()
	}
	indexed := map[string]bool{"docs/README.md": true}
	for _, p := range all {
		for _, m := range links.FindAllStringSubmatch(inline.ReplaceAllString(p.prose, ""), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			name := p.name
			if file != "" {
				name = filepath.ToSlash(filepath.Join(filepath.Dir(p.name), file))
			}
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("%s: the link %s: %v", p.name, target, err)
			} else if anchor != "" && !slices.Contains(anchors[name], anchor) {
				t.Errorf("%s: the link %s: no heading has that name", p.name, target)
			}
			if p.name == "docs/README.md" {
				indexed[name] = true
			}
		}
	}
	for _, p := range all {
		if strings.HasPrefix(p.name, "docs/") && !indexed[p.name] {
			t.Errorf("docs/README.md has no link to %s", p.name)
		}
	}
}

// Commands stand in blocks that say whether they are run.
func TestBlocksAreMarked(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?m)^(apmon-(send|bg|recv)|go (run|test|install)|curl) `)
	indented := regexp.MustCompile(`(?m)^(    |\t)(apmon-(send|bg|recv)|go (run|test|install)|curl) .*`)
	for _, p := range pages(t) {
		for _, line := range indented.FindAllString(p.prose, -1) {
			t.Errorf("%s: %q is in no block of sh or console", p.name, line)
		}
		for _, b := range p.blocks {
			if b.language == "" && command.MatchString(b.text) {
				t.Errorf("%s:%d: the block has commands, and no language", p.name, b.line)
			}
		}
	}
}

// The README is short, and leads to the pages early.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 130 {
		t.Errorf("the README has %d lines, more than 130", n)
	}
	before, _, ok := strings.Cut(string(text), "](docs/start.md)")
	if n := len(strings.Fields(before)); !ok || n > 400 {
		t.Errorf("%d words before the first link to docs/start.md, more than 400 (%v)", n, ok)
	}
}

// Go code of pages is a part of a program that is compiled: of snippets_test.go, or of an example.
func TestGoCode(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var compiled []string
	for _, f := range append(files, "snippets_test.go") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, unindented(string(text)))
	}
	found := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.language != "go" {
				continue
			}
			found++
			if !slices.ContainsFunc(compiled, func(text string) bool { return strings.Contains(text, unindented(b.text)) }) {
				t.Errorf("%s:%d: the code is neither in docs/snippets_test.go nor in an example", p.name, b.line)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d blocks of Go", found)
	}
}

// Pages name only methods that exist: of a client c, its scope s, a job, a registry reg.
func TestMethods(t *testing.T) {
	t.Parallel()
	types := map[string]reflect.Type{
		"c":      reflect.TypeFor[*apmon.Client](),
		"client": reflect.TypeFor[*apmon.Client](),
		"s":      reflect.TypeFor[apmon.Scope](),
		"job":    reflect.TypeFor[*apmon.MonitoredJob](),
		"reg":    reflect.TypeFor[*metrics.Registry](),
	}
	call := regexp.MustCompile(`\b(c|client|s|job|reg)\.([A-Z]\w*)`)
	found := 0
	for _, p := range pages(t) {
		for _, code := range inline.FindAllString(p.prose, -1) {
			for _, m := range call.FindAllStringSubmatch(code, -1) {
				found++
				if _, ok := types[m[1]].MethodByName(m[2]); !ok {
					t.Errorf("%s: %s: %v has no method %s", p.name, code, types[m[1]], m[2])
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("%d names of methods", found)
	}
}

// unindented returns text without blanks at the ends of lines, and without empty lines.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
