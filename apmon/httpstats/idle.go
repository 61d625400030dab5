package httpstats

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrIdle is the cause with which the context of a request ends that was ended
// because nothing was written, see [WithIdleLimit].
var ErrIdle = errors.New("httpstats: request idle for too long")

// idle ends a request when nothing has been written for too long.
type idle struct {
	wrote  atomic.Int64 // nanoseconds since the request began
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	done  bool // the connection may serve another request, or is not net/http's
	ended bool
}

// watch has the request ended when it is idle, and returns it with a context that
// tells so.
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
		idle := time.Since(w.began) - time.Duration(i.wrote.Load())
		if left := w.s.idleLimit - idle; left > 0 {
			i.timer.Reset(left)
			return
		}
		i.ended = true
		cancel(ErrIdle)
		// Not every ResponseWriter has deadlines; then the context is all.
		c, past := http.NewResponseController(w.rw), time.Unix(1, 0)
		_ = c.SetWriteDeadline(past)
		_ = c.SetReadDeadline(past)
	})
	return r.WithContext(ctx)
}

// stop ends the watch, and reports whether it has ended the request. Nothing is
// done to the connection after that.
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
