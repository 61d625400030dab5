package causes

import (
	"errors"
	"strconv"
	"testing"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	var o Once
	if err := o.Take(); err != nil {
		t.Errorf("empty: %v", err)
	}
	a, b := errors.New("a"), errors.New("b")
	o.Add("", a)
	o.Add("", a)
	o.Add("a", b) // the text of a is the cause
	o.Add("c", b)
	if err := o.Take(); err == nil || err.Error() != "a\nb" || !errors.Is(err, a) || !errors.Is(err, b) {
		t.Errorf("%v, want a and b", err)
	}
	o.Add("", a)
	o.Add("c", b)
	if err := o.Take(); err != nil {
		t.Errorf("reported again: %v", err)
	}
}

func TestOnceIsBounded(t *testing.T) {
	t.Parallel()
	var o Once
	for i := range 2 * limit {
		o.Add(strconv.Itoa(i), errors.New("x"))
	}
	if len(o.seen) != limit || len(o.errs) != limit {
		t.Errorf("%d causes, %d errors are kept, want %d", len(o.seen), len(o.errs), limit)
	}
}
