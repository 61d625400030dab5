package accesslog

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// stateLines is the number of changes of the input that are logged at once.
	stateLines = 10
	// stateEvery is the time after which another one is logged: an input that
	// changes all the time causes 240 lines a day.
	stateEvery = 6 * time.Minute
)

// state is the state of the input, and of its log lines.
type state struct {
	mu      sync.Mutex
	known   bool
	trouble string    // why the input is unavailable; empty if it is available
	changes int       // since the last line
	due     time.Time // the time of the next line if lines are logged every stateEvery
	asked   time.Time // the time of a request without an answer; zero for none
}

// state records that the input is available (nil) or why it is not. A change is
// logged, now or later.
func (l *Log) state(err error) {
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	s := &l.input
	s.mu.Lock()
	s.asked = time.Time{}
	s.set(trouble)
	s.mu.Unlock()
	l.logState(false)
}

// asking records that a request is sent.
func (l *Log) asking() {
	l.input.mu.Lock()
	defer l.input.mu.Unlock()
	l.input.asked = time.Now()
}

// set records a change. The caller holds s.mu.
func (s *state) set(trouble string) {
	if s.known && s.trouble == trouble {
		return
	}
	s.known, s.trouble = true, trouble
	s.changes++
}

// logState logs the state of the input if it has changed, unless too many lines were
// logged; last logs it in any case.
func (l *Log) logState(last bool) {
	s, now := &l.input, time.Now()
	s.mu.Lock()
	if !s.asked.IsZero() && now.Sub(s.asked) >= dialTimeout {
		s.asked = time.Time{}
		s.set("the server has not answered yet")
	}
	if s.changes == 0 || !last && s.due.Sub(now) > (stateLines-1)*stateEvery {
		s.mu.Unlock()
		return
	}
	if s.due.Before(now) {
		s.due = now
	}
	s.due = s.due.Add(stateEvery)
	trouble, changes := s.trouble, s.changes
	s.changes = 0
	s.mu.Unlock()

	attrs := []any{slog.String("input", l.name)}
	if trouble != "" {
		attrs = append(attrs, slog.String("error", trouble))
	}
	if changes > 1 {
		attrs = append(attrs, slog.Int("changes", changes))
	}
	if trouble == "" {
		l.logger.Info("access log is read", attrs...)
	} else {
		l.logger.Warn("access log is not read", attrs...)
	}
}
