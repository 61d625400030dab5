package httpstats

import "time"

// windowSeconds is how many whole seconds the window has.
const windowSeconds = 10

// window counts by seconds since the start: those of the window, and the one that
// goes on.
type window struct {
	slots      [windowSeconds + 1]slot
	second     int64         // that goes on
	at         time.Duration // since the start: until when busy is counted
	inProgress int64
}

// slot is one second.
type slot struct {
	begun int64 // requests
	bytes int64
	busy  time.Duration // the time that requests were in progress, of all together
	ended ending
}

// ending is what is known of requests that have ended.
type ending struct {
	count       int64
	took        time.Duration // all together
	least, most time.Duration
	large       int64   // those for resources over largeResource
	shares      float64 // of the resource that was read, of all large ones together
}

func (e *ending) add(o *ending) {
	if o.count == 0 {
		return
	}
	if e.count == 0 || o.least < e.least {
		e.least = o.least
	}
	e.most = max(e.most, o.most)
	e.count += o.count
	e.took += o.took
	e.large += o.large
	e.shares += o.shares
}

func (w *window) slot(second int64) *slot { return &w.slots[second%int64(len(w.slots))] }

// advance moves to a time since the start, and calls whole for each second that
// is over, but for empty ones that have left the window before they were asked
// for.
func (w *window) advance(at time.Duration, whole func(second int64, s *slot)) {
	now := int64(at / time.Second)
	for w.second < now {
		end := time.Duration(w.second+1) * time.Second
		w.spend(end)
		whole(w.second, w.slot(w.second))
		w.second++
		if skip := now - int64(len(w.slots)); w.second < skip {
			w.second = skip
			w.at = time.Duration(skip) * time.Second
		}
		*w.slot(w.second) = slot{}
	}
	w.spend(at)
}

// spend counts the time until then, which lies in the same second.
func (w *window) spend(until time.Duration) {
	if until > w.at {
		w.slot(w.second).busy += time.Duration(w.inProgress) * (until - w.at)
		w.at = until
	}
}

// peak is the highest value so far, and when it was first reached.
type peak struct {
	value int64
	at    time.Time
}

func (p *peak) raise(value int64, at time.Time) {
	if value > p.value {
		p.value, p.at = value, at
	}
}
