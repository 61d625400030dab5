package accesslog

import (
	"slices"
	"sync"
	"time"
)

// slots is the number of windows that can be open: the current one; the previous one,
// until its grace is over; and the next, since the clock of the server may be ahead.
const slots = 3

// keptResults is the number of closed windows that can wait to be sent.
const keptResults = 20

// windows counts the lines of streams by time. A window is identified by its number:
// the time since 1970 divided by its length.
type windows struct {
	length int64         // s
	grace  time.Duration // how long a window stays open after its end
	clock  func() time.Time

	mu sync.Mutex // guards the fields below
	streamSet
	running   bool
	ended     bool        // the input has ended, and now is the last window
	connected bool        // to an input that reports its end
	now, next int64       // the current window, and the oldest that is open
	looked    time.Time   // when now was computed, on the monotonic clock
	seen      [slots]bool // there was an input, at least for a part of the window
	own       own
	top       *top // nil unless asked for
	results   []result
}

// duration is the length of a window.
func (w *windows) duration() time.Duration { return time.Duration(w.length) * time.Second }

// own counts the lines without a stream, the lost windows and the truncations since
// the last window was closed.
type own struct{ unmatched, late, bad, lost, truncated float64 }

func (o *own) add(b own) {
	o.unmatched += b.unmatched
	o.late += b.late
	o.bad += b.bad
	o.lost += b.lost
	o.truncated += b.truncated
}

// result is a closed window.
type result struct {
	window int64
	sums   []sum // none if it was lost
	top    []ranked
	own    own
}

// begin opens the current window.
func (w *windows) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.clock().Unix() / w.length
	w.next, w.looked, w.running = w.now, time.Now(), true
}

// end makes the current window the last, since the input has ended. Open windows are
// reported when they are over.
func (w *windows) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.connected, w.ended = false, true
}

// look closes the windows that are over.
func (w *windows) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
}

// connect records whether there is an input from now on.
func (w *windows) connect(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	if w.connected = is; is {
		w.see()
	}
}

// current records that the input has been read to its present end.
func (w *windows) current() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.see()
}

// truncated counts a truncation of the input.
func (w *windows) truncated() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own.truncated++
}

// see records that there is an input. The caller holds w.mu.
func (w *windows) see() {
	if w.running && !w.ended && w.now >= w.next {
		w.seen[w.now%slots] = true
	}
}

// advance closes the windows that are over. It must be called several times in each
// window. The caller holds w.mu.
func (w *windows) advance() {
	if !w.running {
		return
	}
	now, elapsed := w.clock(), time.Since(w.looked)
	w.looked = time.Now()
	if !w.ended {
		w.move(now.Unix()/w.length, elapsed)
		if w.connected {
			w.see()
		}
	}
	for !(w.ended && w.next > w.now) && now.Sub(time.Unix((w.next+1)*w.length, 0)) >= w.grace {
		w.close()
	}
}

// move makes a window the current one.
func (w *windows) move(to int64, elapsed time.Duration) {
	stepped := to < w.next-1 || to > w.now+1 && elapsed < w.duration()
	switch {
	case stepped:
		// The clock was set, or the machine slept: the windows in between did not
		// occur, or will occur again.
		for w.next <= w.now {
			w.close()
		}
		w.seen = [slots]bool{}
		w.drop()
		w.top.drop()
		w.next = to
	case to > w.now+1:
		// The process did not run. (Lines of the previous window may still
		// arrive.)
		for w.next <= w.now+1 && w.next < to-1 {
			w.close()
		}
		if w.next < to-1 {
			w.own.lost += float64(min(to-1-w.next, int64(elapsed/w.duration())))
			w.next = to - 1
		}
	}
	w.now = to
}

// close closes the oldest open window.
func (w *windows) close() {
	slot := w.next % slots
	r := result{window: w.next}
	if w.seen[slot] {
		r.sums = w.sums(slot, w.length)
		r.top = w.top.take(slot)
	} else {
		w.own.lost++
	}
	r.own, w.own = w.own, own{}
	w.seen[slot] = false
	w.next++
	if len(w.results) == keptResults {
		// No report was made for a long time: drop the oldest result.
		o, n := &w.results[0], &w.results[1].own
		n.add(o.own)
		if o.sums != nil {
			n.lost++
		}
		w.results = slices.Delete(w.results, 0, 1)
	}
	w.results = append(w.results, r)
}
