package commandtest

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

var update = flag.Bool("update", false, "write packaging/man")

// escape matches an escaped character of a manual page.
var escape = regexp.MustCompile(`\\(\(..|.)`)

// ManPage compares a command's page in packaging/man with the one derived from the
// command. With -update it writes the page.
func ManPage(t *testing.T, app *command.App) {
	t.Helper()
	page := app.ManPage()
	kept := false
	for line := range strings.Lines(page) {
		switch line = strings.TrimRight(line, "\n"); line {
		case ".nf":
			kept = true
		case ".fi":
			kept = false
		default:
			// A page of 80 columns has 78, of which 7 are the margin.
			if n := utf8.RuneCountInString(escape.ReplaceAllString(line, "x")); kept && n > 71 {
				t.Errorf("%d columns in a block of the manual page: %s", n, line)
			}
		}
	}
	file := "../../packaging/man/" + app.Name() + ".1"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != page {
		t.Errorf("%s differs from the command, run with -update (%v)", file, err)
	}
}
