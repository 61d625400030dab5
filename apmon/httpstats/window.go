package httpstats

import "time"

// windowSeconds is the number of complete seconds in the window.
const windowSeconds = 10

// window holds the counts of each second of the window and of the current second.
type window struct {
	slots      [windowSeconds + 1]slot
	second     int64         // the current one
	at         time.Duration // since the start; busy is counted up to it
	inProgress int64
}

// slot is one second.
type slot struct {
	begun int64 // requests
	bytes int64
	busy  time.Duration // sum of the time in progress of all requests
	ended ending
}

// ending sums up requests that have ended.
type ending struct {
	count       int64
	took        time.Duration // sum
	least, most time.Duration
	large       int64   // requests for resources over largeResource
	shares      float64 // sum of the shares of these resources that were sent
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

// advance moves to a time since the start, and calls whole for each complete second,
// except empty ones that have already left the window.
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

// spend counts the time until then, in the same second.
func (w *window) spend(until time.Duration) {
	if until > w.at {
		w.slot(w.second).busy += time.Duration(w.inProgress) * (until - w.at)
		w.at = until
	}
}

// peak is the highest value so far, and the time when it was first reached.
type peak struct {
	value int64
	at    time.Time
}

func (p *peak) raise(value int64, at time.Time) {
	if value > p.value {
		p.value, p.at = value, at
	}
}
