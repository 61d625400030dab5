package accesslog

import (
	"maps"
	"slices"
	"time"
)

// slots is how many windows are open at a time at most: that of now; the one
// before, until its grace is over; and the next, as the clock of whoever writes
// the log may be ahead.
const slots = 3

// keptResults is how many windows wait at most to be sent.
const keptResults = 20

// forgotten is how long a stream that was not declared may be silent, in s.
const forgotten = 3600

// windows is what a [Log] knows of time. A window is told by its number: the time
// since 1970 divided by its length.
type windows struct {
	running   bool
	ended     bool        // nothing is read any more, and now is the last window
	connected bool        // to an input that tells when it no longer is
	now, next int64       // the window of now, and the oldest that is open
	looked    time.Time   // when now was found, on the monotonic clock
	seen      [slots]bool // there was an input, for a part of it at least
	own       own
	results   []result
}

// own is what is counted of the log itself, since the last window was closed.
type own struct{ unmatched, late, bad, lost, truncated float64 }

func (o *own) add(b own) {
	o.unmatched += b.unmatched
	o.late += b.late
	o.bad += b.bad
	o.lost += b.lost
	o.truncated += b.truncated
}

// result is a window that is over.
type result struct {
	window int64
	sums   []sum // none if it was lost
	own    own
}

// sum is what a stream has come to in a window.
type sum struct {
	node                     string
	clients, bytes, requests float64
}

// begin starts with the window of now.
func (l *Log) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.clock().Unix() / l.window
	l.next, l.looked, l.running = l.now, time.Now(), true
}

// end says that nothing will be read any more. What is open is reported once it
// is over.
func (l *Log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	l.connected, l.ended = false, true
}

// look closes the windows that are over.
func (l *Log) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
}

// connect says that there is an input from now on, or none.
func (l *Log) connect(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	if l.connected = is; is {
		l.see()
	}
}

// current says that all is read that there is by now.
func (l *Log) current() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	l.see()
}

// truncated counts that the input has lost a part.
func (l *Log) truncated() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own.truncated++
}

// see notes that there is an input. The caller holds l.mu.
func (l *Log) see() {
	if l.running && !l.ended && l.now >= l.next {
		l.seen[l.now%slots] = true
	}
}

// advance closes what is over, and has to be called several times in each
// window. The caller holds l.mu.
func (l *Log) advance() {
	if !l.running {
		return
	}
	now, elapsed := l.clock(), time.Since(l.looked)
	l.looked = time.Now()
	if !l.ended {
		l.move(now.Unix()/l.window, elapsed)
		if l.connected {
			l.see()
		}
	}
	for !(l.ended && l.next > l.now) && now.Sub(time.Unix((l.next+1)*l.window, 0)) >= l.grace {
		l.close()
	}
}

// move goes to the window of now.
func (l *Log) move(w int64, elapsed time.Duration) {
	stepped := w < l.next-1 || w > l.now+1 && elapsed < l.opt.Window
	switch {
	case stepped:
		// The clock was set, or the machine slept: what lies between did not
		// happen, or is to happen again.
		for l.next <= l.now {
			l.close()
		}
		l.drop()
		l.next = w
	case w > l.now+1:
		// The process did not run. (What was written meanwhile may still come
		// for the window before.)
		for l.next <= l.now+1 && l.next < w-1 {
			l.close()
		}
		if l.next < w-1 {
			l.own.lost += float64(min(w-1-l.next, int64(elapsed/l.opt.Window)))
			l.next = w - 1
		}
	}
	l.now = w
}

// drop forgets what lines said that were ahead of their time.
func (l *Log) drop() {
	l.seen = [slots]bool{}
	for _, s := range l.streams {
		for i := range s.counts {
			s.counts[i].reset()
		}
	}
}

// close closes the oldest open window.
func (l *Log) close() {
	slot := l.next % slots
	r := result{window: l.next}
	if l.seen[slot] {
		r.sums = make([]sum, len(l.streams))
		for i, s := range l.streams {
			c := &s.counts[slot]
			r.sums[i] = sum{s.node, c.clients.count(), c.bytes, c.requests}
			if s.silent++; c.requests > 0 {
				s.silent = 0
			}
			c.reset()
		}
		if l.learn {
			l.forget()
		}
	} else {
		l.own.lost++
	}
	r.own, l.own = l.own, own{}
	l.seen[slot] = false
	l.next++
	if len(l.results) == keptResults {
		// Nobody has asked for so long that the oldest is given up.
		o, n := &l.results[0], &l.results[1].own
		n.add(o.own)
		if o.sums != nil {
			n.lost++
		}
		l.results = slices.Delete(l.results, 0, 1)
	}
	l.results = append(l.results, r)
}

// forget forgets the streams that have long been silent.
func (l *Log) forget() {
	silent := func(s *stream) bool {
		return s.silent*l.window >= forgotten && !slices.ContainsFunc(s.counts[:], func(c count) bool { return c.requests > 0 })
	}
	if slices.ContainsFunc(l.streams, silent) {
		maps.DeleteFunc(l.byKey, func(_ string, s *stream) bool { return silent(s) })
		maps.DeleteFunc(l.byNode, func(_ string, s *stream) bool { return silent(s) })
		l.streams = slices.DeleteFunc(l.streams, silent)
	}
}
