package commandtest

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

// Help checks the help of a command: "help", "version" and "completion" are
// subcommands, each subcommand and topic has a help without an empty
// description, and no line is longer than 80 columns. The function run runs the command with arguments.
func Help(t *testing.T, run func(args ...string) (stdout string, code int)) {
	t.Helper()
	ok := func(args ...string) string {
		t.Helper()
		out, code := run(args...)
		if code != command.OK || out == "" {
			t.Errorf("%v: exit code %d, output %q", args, code, out)
		}
		if strings.Contains(out, "DESCRIPTION:\n\n") {
			t.Errorf("%v: the description is empty:\n%s", args, out)
		}
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && args[0] != "completion" {
				t.Errorf("%v: %d columns: %s", args, n, line)
			}
		}
		return out
	}
	help := ok("help")
	if again := ok("--help"); again != help || ok("-h") != help {
		t.Errorf("help prints\n%s--help\n%s", help, again)
	}
	if ok("version") != ok("--version") {
		t.Error("version and --version differ")
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		ok("completion", shell)
	}
	_, list, _ := strings.Cut(help, "\nCOMMANDS:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^   (help )?([a-z]+)`).FindAllStringSubmatch(list, -1) {
		about := ok("help", m[2])
		if m[1] == "" && m[2] != "help" && m[2] != "version" && m[2] != "completion" && ok(m[2], "--help") != about {
			t.Errorf("help %s and %[1]s --help differ", m[2])
		}
	}
	if _, code := run("help", "nonsense"); code != command.Usage {
		t.Errorf("help nonsense: exit code %d", code)
	}
}
