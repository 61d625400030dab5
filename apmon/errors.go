package apmon

import (
	"errors"
	"fmt"

	"github.com/apmon-go/apmon/xdr"
)

// What Send and its kin return, wrapped with details; ask with [errors.Is].
var (
	// ErrRateLimited: the message is over the rate limit and was not sent to
	// any destination.
	ErrRateLimited = errors.New("apmon: over the rate limit")
	// ErrNoDestination: there is no destination, or none whose name has been
	// resolved; the message was not sent.
	ErrNoDestination = errors.New("apmon: no destination")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("apmon: client is closed")
	// ErrTime: the time of the message is outside 1970-01-01T00:00:01Z …
	// 2038-01-19T03:14:07Z, the only ones that can travel; it was not sent.
	ErrTime = errors.New("apmon: time out of range")
	// ErrBadName: an empty, blank or over-long name. Of a cluster or node the
	// message was not sent; of a parameter, the others were.
	ErrBadName = xdr.ErrBadName
	// ErrBadValue: NaN, an infinity, empty or over-long text. The message's
	// other parameters were sent.
	ErrBadValue = xdr.ErrBadValue
	// ErrTooLarge: a parameter that fits no datagram (the others were sent),
	// or names that leave no room for any (nothing was).
	ErrTooLarge = xdr.ErrTooLarge
)

// errorList collects what is wrong with the parameters of one message, and
// stays small when all of 100 000 are.
type errorList struct {
	errs []error
	more int
}

func (l *errorList) add(err error) {
	if len(l.errs) < 10 {
		l.errs = append(l.errs, err)
		return
	}
	l.more++
}

// join returns nil, or one error that wraps all that were kept.
func (l *errorList) join() error {
	switch {
	case len(l.errs) == 0:
		return nil
	case len(l.errs) == 1:
		return fmt.Errorf("apmon: %w", l.errs[0])
	case l.more > 0:
		return fmt.Errorf("apmon: %w\nand %d parameters more", errors.Join(l.errs...), l.more)
	}
	return fmt.Errorf("apmon: %w", errors.Join(l.errs...))
}
