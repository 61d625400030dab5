package output

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Causes of dropped datagrams that more than one output has.
const (
	QueueFull = "queue_full" // the output is slower than the datagrams arrive
	Stopped   = "stopped"    // the output was stopped before it could handle them
	Rejected  = "rejected"   // the server refuses them for good
	TooOld    = "too_old"    // the server was down for too long
)

// Stats are the counts of one output since it was started.
type Stats struct {
	Output string // its name
	// Queued and QueuedBytes are the datagrams that wait, and their memory.
	Queued, QueuedBytes int
	// Taken counts the datagrams put into the queue; Sent those that the output has
	// delivered; Dropped those that it lost, by cause.
	Taken, Sent uint64
	Dropped     map[string]uint64
	// Duplicate counts datagrams of Sent that the destination had stored before: those of
	// another receiver, or of an earlier attempt.
	Duplicate uint64
	// Error is why the output does not work now, since when; it is empty while it works.
	Error string
	Since time.Time
	Ended bool // for good: it will not work again
	// Hold is how long an output that merges datagrams held those that it sent last, and Late
	// counts the datagrams that it held longer than it was told to.
	Hold time.Duration
	Late uint64
}

// State counts what an output does and logs when it begins and ceases to fail. It is safe for
// concurrent use.
type State struct {
	log  *slog.Logger
	name string

	taken atomic.Uint64 // for each datagram, so not under mu

	mu     sync.Mutex
	stats  Stats
	logged time.Time // when the last failure was logged
}

// logInterval is the time between two lines of the log on an output that keeps failing.
const logInterval = time.Minute

// Sent counts delivered datagrams.
func (s *State) Sent(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Sent += uint64(n)
}

// Duplicates counts datagrams, counted as delivered too, that the destination had before.
func (s *State) Duplicates(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Duplicate += uint64(n)
}

// Held records for how long the last datagrams were held, and counts those that were late.
func (s *State) Held(hold time.Duration, late int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Hold = hold
	s.stats.Late += uint64(late)
}

// Drop counts datagrams that are lost, by cause: a word of lower-case letters and
// underscores, one of a few.
func (s *State) Drop(cause string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == 0 {
		return
	}
	if s.stats.Dropped == nil {
		s.stats.Dropped = make(map[string]uint64)
	}
	s.stats.Dropped[cause] += uint64(n)
}

// Fails records why the output does not work now. The error must not contain a password or
// token. It is logged at once, and then at most once a minute.
func (s *State) Fails(err error) {
	s.mu.Lock()
	now := time.Now()
	if s.stats.Error == "" {
		s.stats.Since = now
	}
	s.stats.Error = err.Error()
	due := now.Sub(s.logged) >= logInterval
	if due {
		s.logged = now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn("output fails", "output", s.name, "err", err)
	}
}

// end records why the output has ended for good.
func (s *State) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Error, s.stats.Since, s.stats.Ended = err.Error(), time.Now(), true
}

func (s *State) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.Ended
}

// Works records that the output works.
func (s *State) Works() {
	s.mu.Lock()
	failed, since := s.stats.Error != "", s.stats.Since
	s.stats.Error, s.stats.Since = "", time.Time{}
	s.mu.Unlock()
	if failed {
		s.log.Info("output works again", "output", s.name, "after", time.Since(since).Round(time.Second))
	}
}

func (s *State) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.stats
	c.Taken, c.Dropped = s.taken.Load(), maps.Clone(c.Dropped)
	return c
}
