// Package causes keeps an error that recurs with every sample from being reported
// more than once.
package causes

import "errors"

// limit bounds the causes that are remembered. Errors with further causes are
// dropped, so that a cause that differs each time does not use up memory.
const limit = 1000

// Once collects errors, the first of each cause. The zero Once is empty.
type Once struct {
	seen map[string]bool
	errs []error
}

// Add keeps err until the next Take, unless an error with this cause was added
// before. An empty cause stands for the text of err.
func (o *Once) Add(cause string, err error) {
	if cause == "" {
		cause = err.Error()
	}
	if o.seen[cause] || len(o.seen) >= limit {
		return
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[cause] = true
	o.errs = append(o.errs, err)
}

// Take returns the errors that were added since the last call, joined; nil if
// there are none.
func (o *Once) Take() error {
	err := errors.Join(o.errs...)
	clear(o.errs)
	o.errs = o.errs[:0]
	return err
}
