package glob

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b c", true},
		{"a", "a", true}, {"a", "ab", false}, {"a", "", false},
		{"a*", "abc", true}, {"*c", "abc", true}, {"*b*", "abc", true}, {"a*d", "abc", false},
		{"?", "", false}, {"?", "x", true}, {"a?c", "abc", true}, {"a?", "abc", false},
		{"a*b*c", "axxbxbxc", true}, {"*ab", "aab", true}, {"**", "x", true},
		{`\*`, "*", true}, {`\*`, "x", false}, {`a\`, `a\`, true}, {`\?x`, "?x", true}, {`*\*`, "a*", true}, {`*\*`, "ab", false},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// FuzzMatch compares with a regular expression of the same meaning.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axbyc")
	f.Add(`*\**`, "a*")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		var re strings.Builder
		for rest := pattern; rest != ""; {
			c, size := head(rest)
			switch {
			case size == 1 && c == '*':
				re.WriteString("(?:.|\n)*")
			case size == 1 && c == '?':
				re.WriteString("(?:.|\n)")
			case c >= 0x80:
				t.Skip() // expressions match characters, patterns bytes
			default:
				re.WriteString(regexp.QuoteMeta(string(rune(c))))
			}
			rest = rest[size:]
		}
		for i := range len(name) {
			if name[i] >= 0x80 {
				t.Skip()
			}
		}
		if len(pattern) > 500 {
			t.Skip()
		}
		want := regexp.MustCompile(`\A(?:` + re.String() + `)\z`).MatchString(name)
		if got := Match(pattern, name); got != want {
			t.Errorf("Match(%q, %q) = %v", pattern, name, got)
		}
	})
}

// A hostile name takes no exponential time.
func TestMatchIsFast(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	if Match(strings.Repeat("*a", 20)+"b", strings.Repeat("a", 32<<10)) {
		t.Error("matched")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list List
		name string
		want bool
	}{
		{nil, "x", true}, {List{"x"}, "x", true}, {List{"x"}, "y", false},
		{List{"x", "y"}, "y", true}, {List{"!x"}, "y", true}, {List{"!x"}, "x", false},
		{List{"*", "!x*"}, "xy", false}, {List{"!x*", "xy"}, "xy", false},
	} {
		if got := c.list.Match(c.name); got != c.want {
			t.Errorf("%q of %q: %v", c.list, c.name, got)
		}
	}
}
