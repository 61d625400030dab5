package command

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Exit codes, as in sysexits.h.
const (
	OK          = 0
	Usage       = 64 // the command was used wrongly
	DataErr     = 65 // bad name, value, time or datagram
	NoInput     = 66 // an input does not exist or cannot be read
	NoHost      = 68 // no destination's name could be resolved
	Unavailable = 69 // every destination refused; an address cannot be bound
	IOErr       = 74 // output could not be written
	TempFail    = 75 // over the rate limit; too little arrived in time
	Config      = 78 // configuration
)

// Error is an error with the exit code of the command.
type Error struct {
	Code int
	Err  error
	help string // the command to whose help the message refers, such as "apmon-bg exec"; empty for none
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [*Error].
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Silent returns an error that is not printed: only its exit code counts.
func Silent(code int) error { return &Error{Code: code, Err: errors.New("")} }

// Code returns the exit code of an error.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Usage // errors of the flag parser carry no code
}

// Report prints an error as "NAME: message" and returns its exit code.
func Report(stderr io.Writer, name string, err error) int {
	var e *Error
	switch {
	case err == nil || err.Error() == "":
	case errors.As(err, &e) && e.help == "":
		fmt.Fprintf(stderr, "%s: %s\n", name, Message(err))
	default:
		help := name
		if e != nil {
			help = e.help
		}
		fmt.Fprintf(stderr, "%s: %s\nTry '%s --help'.\n", name, Message(err), help)
	}
	return Code(err)
}

// Message returns the text of an error without the prefix "apmon: ", since the line
// begins with the name of the command.
func Message(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "apmon: "), ": apmon: ", ": ")
}

// OutputError returns the error of a command whose standard output could not be
// written. Its code is [IOErr].
func OutputError(err error) error {
	return Errorf(IOErr, "standard output: %w", err)
}

// StreamError is [OutputError] for a command that prints until it is stopped. It
// returns nil if err is nil, or if the reader of a pipe has ended, as in
// "apmon-recv | head".
func StreamError(err error) error {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return OutputError(err)
}
