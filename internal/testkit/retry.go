package testkit

import (
	"fmt"
	"testing"
)

// Retry calls measure up to ten times, until it reports no error. Use it for values that
// other processes of the machine may change between two readings. Fatal ends the test at
// once. Only the errors of the last call are reported.
func Retry(t *testing.T, measure func(t testing.TB)) {
	t.Helper()
	var last *attempt
	for range 10 {
		last = &attempt{TB: t}
		if measure(last); len(last.errs) == 0 {
			return
		}
	}
	for _, err := range last.errs {
		t.Error(err)
	}
}

// attempt is one measurement.
type attempt struct {
	testing.TB
	errs []string
}

func (a *attempt) Error(args ...any) { a.errs = append(a.errs, fmt.Sprint(args...)) }
func (a *attempt) Errorf(format string, args ...any) {
	a.errs = append(a.errs, fmt.Sprintf(format, args...))
}
