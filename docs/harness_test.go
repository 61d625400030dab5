package docs_test

import (
	"slices"
	"testing"
)

// The tests of this package find what they are for.

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		match     bool
	}{
		{"a\nb", "a\nb", true},
		{"a\nb", "a\nc", false},
		{"a\nb", "a\nb\nc", false},
		{"a.b", "axb", false},
		{"a …", "a 1 2", true},
		{"a …", "a 1\n2", false},
		{"…\n64", "error: x\nTry y\n64", true},
		{"…\n64", "64", true},
		{"…\n64", "error\n65", false},
		{"a\n…\nb", "a\nx\ny\nb", true},
		{"a\n…\nb", "a\nb", true},
		{"", "", true},
		{"", "x", false},
	} {
		if matches(c.want, c.got) != c.match {
			t.Errorf("%q and %q: match is not %v", c.want, c.got, c.match)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	p := parse(t, "page.md", "# The title, 2nd `x`\n\n```sh not run: no reason\na\nb\n```\n## B\n```yaml file=x\n# no heading\n```\n[l](other.md#b)\n")
	want := []block{{3, "sh", "not run: no reason", "a\nb\n"}, {8, "yaml", "file=x", "# no heading\n"}}
	if !slices.Equal(p.blocks, want) {
		t.Errorf("got %+v", p.blocks)
	}
	if got := p.anchors(); !slices.Equal(got, []string{"the-title-2nd-x", "b"}) {
		t.Errorf("anchors are %q", got)
	}
	if m := links.FindStringSubmatch(p.prose); m == nil || m[1] != "other.md#b" {
		t.Errorf("links: %q", m)
	}
}
