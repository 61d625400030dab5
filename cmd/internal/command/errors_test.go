package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/apmon"
)

func TestCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, OK},
		{errors.New("from the flag parser"), Usage},
		{Errorf(NoInput, "no file"), NoInput},
		{fmt.Errorf("line 3: %w", Errorf(DataErr, "bad value")), DataErr},
		{Silent(Config), Config},
		{OutputError(io.ErrShortWrite), IOErr},
	} {
		if got := Code(tt.err); got != tt.want {
			t.Errorf("%v: code %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	t.Parallel()
	if err := OutputError(syscall.ENOSPC); !errors.Is(err, syscall.ENOSPC) || err.Error() != "standard output: no space left on device" {
		t.Errorf("got %v", err)
	}
}

// If the reader ends, as in "apmon-recv | head", a command that prints until it is stopped
// returns no error.
func TestStreamError(t *testing.T) {
	t.Parallel()
	if err := errors.Join(StreamError(nil), StreamError(fmt.Errorf("write: %w", syscall.EPIPE))); err != nil {
		t.Error(err)
	}
	if err := StreamError(syscall.ENOSPC); Code(err) != IOErr {
		t.Errorf("got %v", err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want string
		code int
	}{
		{"success", nil, "", OK},
		{"reported already", Silent(TempFail), "", TempFail},
		{"with a code", Errorf(NoHost, "apmon: no such host"), "tool: no such host\n", NoHost},
		{"usage", errors.New("flag needs an argument"), "tool: flag needs an argument\nTry 'tool --help'.\n", Usage},
		{"usage of a subcommand", &Error{Code: Usage, Err: errors.New("no file"), help: "tool read"}, "tool: no file\nTry 'tool read --help'.\n", Usage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if code := Report(&b, "tool", tt.err); code != tt.code || b.String() != tt.want {
				t.Errorf("code %d, %q, want %d, %q", code, &b, tt.code, tt.want)
			}
		})
	}
}

// Each message begins with the name of the command, so the prefix of the package is
// removed.
func TestMessageOmitsThePackage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"apmon: closed":              "closed",
		"line 3: apmon: bad value":   "line 3: bad value",
		"file apmon: not found":      "file apmon: not found",
		"cluster \"apmon: x\" is it": "cluster \"apmon: x\" is it",
	} {
		if got := Message(errors.New(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestSendError(t *testing.T) {
	t.Parallel()
	if err := SendError(nil); err != nil {
		t.Error(err)
	}
	for err, want := range map[error]int{
		apmon.ErrRateLimited:   TempFail,
		apmon.ErrNoDestination: NoHost,
		apmon.ErrBadValue:      DataErr,
	} {
		if got := SendError(fmt.Errorf("sending: %w", err)); Code(got) != want || !errors.Is(got, err) {
			t.Errorf("%v: got %v, code %d, want %d", err, got, Code(got), want)
		}
	}
}

func TestSuggestion(t *testing.T) {
	t.Parallel()
	names := []string{"cluster", "count", "format", "node"}
	for word, want := range map[string]string{
		"clutser":                `, did you mean "cluster"?`,
		"forma":                  `, did you mean "format"?`,
		"nod":                    `, did you mean "node"?`,
		"something":              "",
		strings.Repeat("x", 101): "",
	} {
		if got := suggestion(word, "", names); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if got := suggestion("formt", "--", names); got != ", did you mean --format?" {
		t.Errorf("a flag: got %q", got)
	}
}
