package apmon

import (
	"errors"
	"fmt"

	"github.com/apmon-go/apmon/xdr"
)

// Errors of Send and similar methods, wrapped with details; test for them with
// [errors.Is].
var (
	// ErrRateLimited: the message is over the rate limit and was not sent to
	// any destination.
	ErrRateLimited = errors.New("apmon: over the rate limit")
	// ErrNoDestination: there is no destination, or no name of a destination has
	// been resolved; the message was not sent.
	ErrNoDestination = errors.New("apmon: no destination")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("apmon: client is closed")
	// ErrTime: the time of the message is outside 1970-01-01T00:00:01Z …
	// 2038-01-19T03:14:07Z, the range of the protocol; it was not sent.
	ErrTime = errors.New("apmon: time out of range")
	// ErrBadName: an empty, blank or over-long name. If a cluster or node has it,
	// the message was not sent; if a parameter has it, the others were sent.
	ErrBadName = xdr.ErrBadName
	// ErrBadValue: NaN, an infinity, empty or over-long text. The message's
	// other parameters were sent.
	ErrBadValue = xdr.ErrBadValue
	// ErrTooLarge: a parameter that fits no datagram (the others were sent), or
	// names that leave no room for any parameter (the message was not sent).
	ErrTooLarge = xdr.ErrTooLarge
)

// badParams are the errors of a message's parameters. It keeps the first ones and
// at least one of each kind, and stays small when all of 100 000 parameters are
// bad.
type badParams struct {
	errs []error
	n    int
}

func (b *badParams) add(err error) {
	b.n++
	if len(b.errs) < 10 {
		b.errs = append(b.errs, err)
		return
	}
	for _, kind := range []error{ErrBadName, ErrBadValue, ErrTooLarge} {
		if errors.Is(err, kind) && !errors.Is(b, kind) {
			b.errs = append(b.errs, err)
		}
	}
}

func (b *badParams) Unwrap() []error { return b.errs }

func (b *badParams) Error() string {
	s := "apmon: " + errors.Join(b.errs...).Error()
	if more := b.n - len(b.errs); more > 0 {
		s += fmt.Sprintf("\nand %d more parameters", more)
	}
	return s
}
