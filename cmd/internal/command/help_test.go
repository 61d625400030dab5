package command

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func TestSections(t *testing.T) {
	t.Parallel()
	intro, list := sections(`It does things.
With this: that.

Output:
Text.

Examples:
   tool --now

Note: no title.
`)
	if want := "It does things.\nWith this: that.\n\n"; intro != want {
		t.Errorf("intro %q, want %q", intro, want)
	}
	var titles []string
	for _, s := range list {
		titles = append(titles, s.title)
	}
	if want := []string{"Output", "Examples"}; !slices.Equal(titles, want) {
		t.Errorf("titles %q, want %q", titles, want)
	}
	if got, want := list[1].text, "   tool --now\n\nNote: no title.\n"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestParagraphs(t *testing.T) {
	t.Parallel()
	var got []string
	paragraphs("one\ntwo\n   kept  as it is\n   and this\nthree\n\nfour\n", func(s string) {
		got = append(got, s)
	}, func(lines []string) {
		got = append(got, "["+strings.Join(lines, "|")+"]")
	})
	if want := []string{"one two", "[kept  as it is|and this]", "three", "four"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flag        cli.Flag
		forms       string
		value, text string
	}{
		{&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of it"}, "-c --cluster", "CLUSTER", "CLUSTER of it"},
		{&cli.StringFlag{Name: "format", Value: "json", Usage: "print `json|text`"}, "--format", "json|text", "print json|text (default: json)"},
		{&cli.StringFlag{Name: "x", Usage: "no placeholder"}, "-x", "VALUE", "no placeholder"},
		{&cli.BoolFlag{Name: "once", DisableDefaultText: true, Usage: "do it once"}, "--once", "", "do it once"},
		{&cli.IntFlag{Name: "count", DefaultText: "no limit", Usage: "stop after `N`"}, "--count", "N", "stop after N (default: no limit)"},
		{&Repeat{Forms: []string{"dest", "d"}, Value: "DEST", Usage: "send there"}, "-d --dest", "DEST", "send there"},
		{new(App).helpFlag()[0], "-h --help", "", "show this help"},
	} {
		o := describe(tt.flag)
		if got := strings.Join(o.forms(), " "); got != tt.forms || o.value != tt.value || o.about() != tt.text {
			t.Errorf("%s: %s, %q, %q, want %q, %q", tt.forms, got, o.value, o.about(), tt.value, tt.text)
		}
	}
	if !describe(&cli.BoolFlag{Name: "old", Hidden: true}).hidden {
		t.Error("a hidden flag is shown")
	}
}

// Options keep their order within a group. Groups have the order of their first options.
func TestGrouped(t *testing.T) {
	t.Parallel()
	var got []string
	for _, group := range grouped([]option{{text: "1", group: "a"}, {text: "2", group: "b"}, {text: "3", group: "a"}}) {
		for _, o := range group {
			got = append(got, o.group+o.text)
		}
	}
	if want := []string{"a1", "a3", "b2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRoff(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"a-b":       `a\-b`,
		`c:\x`:      `c:\ex`,
		".conf":     `\&.conf`,
		"'x' ~^`":   `\(aqx\(aq \(ti\(ha\(ga`,
		"no change": "no change",
	} {
		if got := roff(s); got != want {
			t.Errorf("%s: got %s, want %s", s, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	d := NewDuration(time.Second)
	if d.String() != "1s" {
		t.Errorf("default %v", d)
	}
	for s, want := range map[string]time.Duration{"30": 30 * time.Second, "0.5": time.Second / 2, "1h30m": 90 * time.Minute} {
		if err := d.Set(s); err != nil || time.Duration(*d) != want {
			t.Errorf("%s: got %v, %v", s, d, err)
		}
	}
	if err := d.Set("soon"); err == nil {
		t.Error("soon is taken")
	}
}
