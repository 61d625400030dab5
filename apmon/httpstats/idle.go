package httpstats

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrIdle is the cause with which the context of a request ends after
// [Options].IdleLimit without a write.
var ErrIdle = errors.New("httpstats: request idle for too long")

// idle ends a request after the idle limit without a write.
type idle struct {
	wrote  atomic.Int64 // nanoseconds since the request began
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	done  bool // the connection may serve another request, or has been hijacked
	ended bool
}

// watch starts the idle limit, and returns the request with a context that ends when
// the limit is reached.
func (w *response) watch(r *http.Request) *http.Request {
	ctx, cancel := context.WithCancelCause(r.Context())
	i := &idle{cancel: cancel}
	w.idle = i
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(w.s.idleLimit, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.done {
			return
		}
		idle := w.s.now() - w.began - time.Duration(i.wrote.Load())
		if left := w.s.idleLimit - idle; left > 0 {
			i.timer.Reset(left)
			return
		}
		i.ended = true
		cancel(ErrIdle)
		breakOff(w.rw)
	})
	return r.WithContext(ctx)
}

// stop ends the watch, and reports whether it has ended the request. It does not change
// the connection afterwards.
func (i *idle) stop() (ended bool) {
	if i == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done = true
	i.timer.Stop()
	return i.ended
}
