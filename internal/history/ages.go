package history

import "sync"

// ages is what [Windows] can drop, oldest first: the runs of each series but its last one, with
// the time when they ended, and the series, with about the time of their last value. A run is
// before the later runs of its series, and before the series.
type ages struct {
	mu             sync.Mutex // taken with the lock of a shard held
	oldest, latest *link
}

// link is a place in ages.
type link struct {
	older, younger *link
	at             int64 // Unix ms
	of             *window
	kind           linkKind
	listed         bool
}

type linkKind uint8

const (
	wholeSeries linkKind = iota
	numberRun
	textRun
)

// first returns the oldest entry and its time, nil if there is none.
func (a *ages) first() (*link, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.oldest == nil {
		return nil, 0
	}
	return a.oldest, a.oldest.at
}

// isFirst reports whether an entry is still the oldest.
func (a *ages) isFirst(l *link, at int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.oldest == l && l.at == at
}

// add makes an entry the youngest one, whether it is in the list or not.
func (a *ages) add(l *link, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlink(l)
	l.at, l.listed, l.older = at, true, a.latest
	if a.latest != nil {
		a.latest.younger = l
	} else {
		a.oldest = l
	}
	a.latest = l
}

// remove removes an entry, if it is in the list.
func (a *ages) remove(l *link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlink(l)
}

func (a *ages) unlink(l *link) {
	if !l.listed {
		return
	}
	if l.older != nil {
		l.older.younger = l.younger
	} else {
		a.oldest = l.younger
	}
	if l.younger != nil {
		l.younger.older = l.older
	} else {
		a.latest = l.older
	}
	l.older, l.younger, l.listed = nil, nil, false
}
