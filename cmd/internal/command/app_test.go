package command

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// testApp returns a command with a subcommand that takes a command line, and the
// actions that were run.
func testApp(out, errs *bytes.Buffer) (*App, *[]string) {
	ran := new([]string)
	run := func(cc *cli.Context) error {
		*ran = append(*ran, cc.Command.Name+": "+strings.Join(cc.Args().Slice(), " "))
		if cc.Bool("fail") {
			return errors.New("apmon: it failed")
		}
		return nil
	}
	flags := func() []cli.Flag {
		return slices.Concat(Group("One",
			&Repeat{Forms: []string{"file", "f"}, Value: "FILE|URL", Usage: "read a file; or a page", Add: func(string) error { return nil }},
			&cli.BoolFlag{Name: "fail", DisableDefaultText: true, Usage: "fail (soon)"},
		), Group("Two",
			&cli.StringFlag{Name: "format", Value: "json", Usage: "print `json|text`"},
			&cli.StringFlag{Name: "dir", Usage: "a `DIR`"},
			&Repeat{Forms: []string{"factor"}, Value: "a1|b2=FACTOR", Usage: "a factor", Add: func(string) error { return nil }},
			&Repeat{Forms: []string{"service"}, Value: "NAME=PID|NAME=PIDFILE", Usage: "a service", Add: func(string) error { return nil }},
			&cli.BoolFlag{Name: "old", Hidden: true},
		))
	}
	app := New(&cli.App{
		Name: "tool", Usage: "do things", Description: "It does.\n\nExit status:\n   0   good\n   64  bad",
		Flags: flags(), Action: run,
		Commands: []*cli.Command{
			{Name: "exec", Usage: "run a command", ArgsUsage: "CMD ARG...", Flags: flags(), Action: run},
			{Name: "read", Usage: "read files", ArgsUsage: "[FILE]...", Flags: flags(), Action: run},
		},
	}, out, errs, Topic{Name: "theory", Title: "Theory", Usage: "explain it", Text: "It is so."})
	return app, ran
}

// A call of an old completion script runs nothing, wherever "--" is.
func TestCompletionRunsNothing(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "exec -- job", "exec job arg", "-- exec job", "exec -- job --", "--", "exec --format json -- job -x", "--fail", "exec --format"} {
		for _, before := range []string{"", "completion words "} {
			args := strings.Fields("tool " + before + line)
			if before == "" {
				args = append(args, "--generate-bash-completion")
			}
			var out, errs bytes.Buffer
			app, ran := testApp(&out, &errs)
			if code := app.Run(t.Context(), args); code != OK || len(*ran) > 0 || errs.Len() > 0 {
				t.Errorf("%q: exit code %d, ran %q, %s", args, code, *ran, &errs)
			}
		}
	}
	// Only the last argument counts.
	var out, errs bytes.Buffer
	app, ran := testApp(&out, &errs)
	if app.Run(t.Context(), []string{"tool", "exec", "--", "job", "--generate-bash-completion", "x"}); len(*ran) != 1 {
		t.Errorf("ran %q", *ran)
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	const own = "--factor --fail --file --format --dir --service --help -f -h"
	for _, c := range []struct {
		line  string // the last word follows the last blank
		kind  string
		words string
	}{
		{"", "words", "exec read help version completion"},
		{"ex", "words", "exec"},
		{"x", "words", ""},
		{"-", "words", own + " --version -v"},
		{"--f", "words", "--file --fail --format --factor"},
		{"-f", "words", "-f"},
		{"-f ", "files", ""},
		{"--file=x", "files", ""},
		{"--dir ", "directories", ""},
		{"--format ", "words", "json text"},
		{"--format t", "words", "text"},
		{"--format=t", "words", "--format=text"},
		{"-format t", "words", "text"},
		{"--factor ", "words", "a1= b2="},
		{"--factor b", "words", "b2="},
		{"--service ", "words", ""},
		{"--service web=/run", "files", ""},
		{"--nonsense=", "words", ""},
		{"exec -", "words", own},
		{"exec --fo", "words", "--format"},
		{"--fail exec --fo", "words", "--format"},
		{"exec --format=json --fo", "words", "--format"},
		{"exec ", "command 1", ""},
		{"exec jo", "command 1", ""},
		{"exec -- ", "command 2", ""},
		{"exec --fail -f x -- job --fo", "command 5", ""},
		{"exec job -- --fo", "command 1", ""},
		{"read x", "files", ""},
		{"read x y", "files", ""},
		{"read -- --fo", "files", ""},
		{"help ", "words", "exec read theory"},
		{"completion ", "words", "bash zsh fish"},
		{"completion b", "words", "bash"},
	} {
		app, _ := testApp(nil, nil)
		got := app.complete(strings.Split(c.line, " "))
		var words []string
		for _, w := range got.words {
			words = append(words, w[0])
		}
		want := strings.Fields(c.words)
		slices.Sort(words)
		slices.Sort(want)
		if got.kind != c.kind || !slices.Equal(words, want) {
			t.Errorf("%q: %s %q, want %s %q", c.line, got.kind, words, c.kind, want)
		}
	}
	app, _ := testApp(nil, nil)
	if got, want := app.complete([]string{"--fa"}).String(), "words\n--fail\tfail\n--factor\ta factor\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Each error refers to the help of its own command and suggests a similar name.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want string
	}{
		{"--formt", "unknown flag --formt, did you mean --format?\nTry 'tool --help'."},
		{"-z", "unknown flag -z\nTry 'tool --help'."},
		{"exec --formt x job", "unknown flag --formt, did you mean --format?\nTry 'tool exec --help'."},
		{"exec --form x job", "unknown flag --form, did you mean --format?\nTry 'tool exec --help'."},
		{"exec --completely-else", "unknown flag --completely-else\nTry 'tool exec --help'."},
		{"exec --ol", "unknown flag --ol\nTry 'tool exec --help'."},
		{"exce job", "unexpected argument \"exce\", did you mean \"exec\"?\nTry 'tool --help'."},
		{"nonsense", "unexpected argument \"nonsense\"\nTry 'tool --help'."},
		{"help exce", "no help about \"exce\", did you mean \"exec\"?\nTry 'tool help --help'."},
		{"version 2", "unexpected argument \"2\"\nTry 'tool version --help'."},
		{"completion tcsh", "no completion for \"tcsh\": the shell is one of bash|zsh|fish\nTry 'tool completion --help'."},
		{"exec --fail job", "it failed\nTry 'tool exec --help'."},
		{"--\x1b[2J", "unknown flag \"\\x1b[2J\"\nTry 'tool --help'."},
	} {
		var out, errs bytes.Buffer
		app, _ := testApp(&out, &errs)
		code := app.Run(t.Context(), append([]string{"tool"}, strings.Fields(c.line)...))
		if want := "tool: " + c.want + "\n"; code != Usage || errs.String() != want || out.Len() > 0 {
			t.Errorf("%q: exit code %d, %q, want %q", c.line, code, errs.String(), want)
		}
	}
}

// A message after the name of the command does not repeat that of the package.
func TestMessage(t *testing.T) {
	t.Parallel()
	inner := errors.New("apmon: over the rate limit")
	for _, c := range []struct {
		err  error
		want string
	}{
		{inner, "over the rate limit"},
		{fmt.Errorf("--job: %w", inner), "--job: over the rate limit"},
		{fmt.Errorf("apmon: job x: %w", inner), "job x: over the rate limit"},
		{errors.New("apmon is gone"), "apmon is gone"},
	} {
		if got := Message(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"chekc", "check", 2}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
