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

// funcWait bounds the wait of a reading for a function.
const funcWait = 5 * time.Second

// function is a function of [Registry.AddFunc]. Each runs in its own goroutine, once at a
// time, so that a function that hangs costs one goroutine, however often the registry is
// read.
type function struct {
	f func(add func(apmon.Param))

	mu   sync.Mutex
	call *call // under way, nil for none
}

// call is one call of a function. When done is closed, the other fields no longer
// change.
type call struct {
	started time.Time
	done    chan struct{}
	params  []apmon.Param // that were added
	err     error
}

// begin returns the call under way, or starts one. It calls panicked if the function
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
			c.err = fmt.Errorf("metrics: panic in a function: %v", p)
		}
		f.mu.Lock()
		f.call = nil
		f.mu.Unlock()
		close(c.done)
	}()
	f.f(func(p apmon.Param) { c.params = append(c.params, p) })
	c.err = nil
}

// wait waits for a call of the function and returns its parameters.
func (f *function) wait(ctx context.Context, c *call) ([]apmon.Param, error) {
	timer := time.NewTimer(time.Until(c.started.Add(funcWait)))
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-c.done: // it may have ended during the wait for another function
		return c.params, c.err
	default:
	}
	return nil, fmt.Errorf("metrics: function %s has not returned for %v", f.name(), time.Since(c.started).Round(time.Millisecond))
}

// name returns the name of the Go function.
func (f *function) name() string {
	if fn := runtime.FuncForPC(reflect.ValueOf(f.f).Pointer()); fn != nil {
		return fn.Name()
	}
	return "?"
}
