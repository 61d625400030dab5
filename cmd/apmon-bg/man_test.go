package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
)

// TestManPage keeps packaging/man in step; after a change, run
//
//	go test ./cmd/apmon-bg -run TestManPage -update
func TestManPage(t *testing.T) { commandtest.ManPage(t, newApp(nil, nil, nil)) }

func TestHelp(t *testing.T) {
	t.Parallel()
	commandtest.Help(t, func(args ...string) (string, int) {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{name}, args...), func(string) string { return "" }, nil, &out, io.Discard)
		return out.String(), code
	})
}

// Tables in the manual page keep their lines, no placeholder is shown as a default, and
// short flags are listed.
func TestManPageKeepsBlocks(t *testing.T) {
	t.Parallel()
	page := newApp(nil, nil, nil).ManPage()
	for _, want := range []string{
		"\n.SH EXIT STATUS\n.PP\n.nf\n0   stopped by a signal; \\-\\-once: sent, and not all destinations refused\n64  usage                          65  bad name\n",
		"\nAPMON_INTERVAL       interval, if \\-\\-interval is not given\n",
		"\n.TP\n\\fB\\-d\\fR, \\fB\\-\\-dest\\fR \\fIDEST\\fR\nsend to this destination (repeatable)\n",
		"\nwait TIME for processes that outlive CMD; a number is seconds (default: 1.4s)\n",
		"\n.SH ACCESS LOG\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the manual page does not hold %q", want)
		}
	}
	if m := regexp.MustCompile(`\(default: [A-Z|=/]+\)|=""`).FindString(page); m != "" {
		t.Errorf("a placeholder is a default: %s", m)
	}
}

// The older names of the flags of the access log still work and are not shown.
func TestHiddenAliases(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"match", "ids", "window", "status", "format"} {
		for _, form := range []string{"--" + name, "--accesslog-" + name} {
			var errs bytes.Buffer
			code := run(t.Context(), []string{"apmon-bg", "--accesslog", "log", form, "(", "--once"}, func(string) string { return "" }, os.Stdin, io.Discard, &errs)
			if code != 64 || strings.Contains(errs.String(), "unknown flag") {
				t.Errorf("%s: exit code %d, %s", form, code, errs.String())
			}
		}
	}
	if page := newApp(nil, nil, nil).ManPage(); strings.Contains(page, `\-\-match\fR`) {
		t.Error("--match is shown")
	}
}
