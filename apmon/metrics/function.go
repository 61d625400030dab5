package metrics

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

// funcWait is how long a reading waits for a function.
const funcWait = 5 * time.Second

// function is one of [Registry.Func]. It runs once at a time, in a goroutine of
// its own, so that one that hangs costs that goroutine alone, however often the
// registry is read.
type function struct {
	f func(add func(apmon.Param))

	mu   sync.Mutex
	call *call // under way, nil for none
}

// call is one call of a function. When done is closed, the rest no longer
// changes.
type call struct {
	started time.Time
	done    chan struct{}
	params  []apmon.Param // that it added
	err     error
}

// begin returns the call under way, or a new one. Panicked is called if it
// panics.
func (f *function) begin(panicked func()) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.call == nil {
		f.call = &call{started: time.Now(), done: make(chan struct{})}
		go f.run(f.call, panicked)
	}
	return f.call
}

func (f *function) run(c *call, panicked func()) {
	c.err = errors.New("metrics: a function ended its goroutine with runtime.Goexit")
	defer func() {
		if p := recover(); p != nil {
			panicked()
			c.err = fmt.Errorf("metrics: panic of a function: %v", p)
		}
		f.mu.Lock()
		f.call = nil
		f.mu.Unlock()
		close(c.done)
	}()
	f.f(func(p apmon.Param) { c.params = append(c.params, p) })
	c.err = nil
}

// wait returns what a call of the function has added, once that has returned.
func (f *function) wait(ctx context.Context, c *call) ([]apmon.Param, error) {
	timer := time.NewTimer(time.Until(c.started.Add(funcWait)))
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-c.done: // perhaps while another function was waited for
		return c.params, c.err
	default:
	}
	return nil, fmt.Errorf("metrics: function %s has not returned for %v", f.name(), time.Since(c.started).Round(time.Millisecond))
}

// name is that of the Go function.
func (f *function) name() string {
	if fn := runtime.FuncForPC(reflect.ValueOf(f.f).Pointer()); fn != nil {
		return fn.Name()
	}
	return "?"
}
