package httpstats

import (
	"math"
	"time"
)

// window holds the counts of the last complete second and of the current one.
type window struct {
	slots      [2]slot
	second     int64         // the current one
	at         time.Duration // since the start; busy is counted up to it
	busy       time.Duration // sum of the time in progress of all requests
	inProgress int64
}

// slot is one second.
type slot struct {
	begun int64 // requests
	bytes int64
}

// ending sums up requests that have ended.
type ending struct {
	count  int64
	took   time.Duration // sum
	large  int64         // requests for resources over largeResource
	shares float64       // sum of the shares of these resources that were sent
}

// extremes are the durations of the shortest and the longest request of a period.
type extremes struct{ least, most time.Duration }

// noExtremes are those of a period without requests.
var noExtremes = extremes{least: math.MaxInt64}

func (e *extremes) add(o extremes) {
	e.least, e.most = min(e.least, o.least), max(e.most, o.most)
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
		}
		*w.slot(w.second) = slot{}
	}
	w.spend(at)
}

// spend counts the time until then.
func (w *window) spend(until time.Duration) {
	if until > w.at {
		w.busy += time.Duration(w.inProgress) * (until - w.at)
		w.at = until
	}
}

// peak is the highest value so far, and the time when it was first reached.
type peak struct {
	value int64
	at    time.Time
}

// raise takes a value that was reached some time ago.
func (p *peak) raise(value int64, ago time.Duration) {
	if value > p.value {
		p.value, p.at = value, time.Now().Add(-ago)
	}
}
