package httpstats

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ErrEnded is the cause with which the context of a request ends after [Stats.End], if there
// is an [Options].IdleLimit; without one the server ends the context with its own cause.
var ErrEnded = errors.New("httpstats: request ended by the program")

// Snapshot has the counts of a server since the start. Reading it affects no [Reader].
type Snapshot struct {
	Uptime     time.Duration
	Requests   uint64    // begun
	InProgress int64     // requests
	Peak       int64     // most requests in progress at once
	PeakTime   time.Time // of Peak; zero before the first request
	Bytes      int64     // of bodies sent, including requests in progress
	Classes    [6]uint64 // requests that ended, by the first digit of the status; 0 without one
	Localhost  uint64    // requests begun from this machine
	Private    uint64    // requests begun from private networks and from this machine
	Seconds    float64   // sum of the durations of the requests that ended
	// Buckets yields the numbers of requests that ended by their duration in ms, in ascending
	// order: the duration that none of a bucket exceeds, and their number.
	Buckets iter.Seq2[float64, uint64]
	Routes  []Route   // sorted
	Active  []Request // in progress, the oldest first
}

// Route counts the requests that ended with the same status, method and pattern.
type Route struct {
	// Pattern is that of http.Request.Pattern without the method; empty if no http.ServeMux
	// inside the wrapped handler has set it in the request that this handler got, and "other"
	// beyond 1000 different routes.
	Pattern string
	Method  string // "other" for methods that are not of RFC 9110 or PATCH
	Status  int    // 0 without one
	Count   uint64
}

// Request is a request in progress.
type Request struct {
	ID     uint64 // for [Stats.End]
	Client string // address; empty if the client has no IP address
	Method string
	Path   string // without the query, which may hold a secret
	Began  time.Time
	Bytes  int64 // sent so far
}

// Snapshot returns the counts.
func (s *Stats) Snapshot() Snapshot {
	v, active, at := s.cutOut()
	slices.SortFunc(v.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status))
	})
	now := time.Now()
	for i, w := range active {
		r := &v.Active[i]
		path, _, _ := strings.Cut(w.uri, "?")
		r.ID, r.Method, r.Path, r.Began = w.id, w.method, path[:min(len(path), maxText)], now.Add(w.began-at)
		if w.client != (netip.Addr{}) {
			r.Client = w.client.String()
		}
	}
	return v
}

// cutOut returns the counts of a time, and the requests in progress, of which a snapshot has only
// the bytes yet. Requests wait for it, so it formats nothing.
func (s *Stats) cutOut() (v Snapshot, active []*response, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = s.now()
	s.advance(at)
	v = Snapshot{
		Uptime: s.at, Requests: s.requests, InProgress: s.inProgress, Peak: s.peakCount.value, PeakTime: s.peakCount.at, Bytes: s.bytes,
		Classes: s.classes, Localhost: s.localhost, Private: s.private, Seconds: s.took, Buckets: s.durations.All(),
	}
	for r, n := range s.routes.counts {
		v.Routes = append(v.Routes, Route{r.pattern, r.method, r.status, *n})
	}
	for w := s.active.first.next; w != &s.active.first; w = w.next {
		v.Active = append(v.Active, Request{Bytes: w.bytes})
		active = append(active, w)
	}
	return v, active, at
}

// End ends a request in progress, as [Options].IdleLimit does, and reports whether there is
// one of this id. Hijacked connections are not ended.
func (s *Stats) End(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := s.active.first.next; w != &s.active.first; w = w.next {
		if w.id == id && !w.hijacked {
			w.ended = true
			if w.idle != nil {
				w.idle.cancel(ErrEnded)
			}
			breakOff(w.rw)
			return true
		}
	}
	return false
}

// breakOff lets the reads and writes of a request fail. For a ResponseWriter without deadlines
// it does nothing.
func breakOff(w http.ResponseWriter) {
	c, past := http.NewResponseController(w), time.Unix(1, 0)
	_ = c.SetWriteDeadline(past)
	_ = c.SetReadDeadline(past)
}

// active are the requests in progress: a ring, in which the oldest follows first.
type active struct{ first response }

func (a *active) add(w *response) {
	w.next, w.before = &a.first, a.first.before
	w.before.next, a.first.before = w, w
}

func (a *active) remove(w *response) {
	w.before.next, w.next.before = w.next, w.before
	w.next, w.before = nil, nil
}

// route is what requests are counted by.
type route struct {
	pattern, method string
	status          int
}

// maxRoutes limits the routes: the program chooses the patterns, but not the statuses.
const maxRoutes = 1000

// routes counts requests by route.
type routes struct {
	counts map[route]*uint64
	// The last route and its count: most requests of a busy server have one of few.
	last route
	cell *uint64
}

func (r *routes) count(one route) {
	if r.cell == nil || r.last != one {
		if r.counts == nil {
			r.counts = map[route]*uint64{}
		}
		n := r.counts[one]
		if n == nil {
			if len(r.counts) >= maxRoutes {
				one.pattern = "other"
				n = r.counts[one]
			}
			if n == nil {
				n = new(uint64)
				r.counts[one] = n
			}
		}
		r.last, r.cell = one, n
	}
	*r.cell++
}

// routeOf returns the route of a request that has ended.
func routeOf(r *http.Request, status int) route {
	pattern := r.Pattern
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		pattern = strings.TrimLeft(pattern[i:], " \t")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace, http.MethodPatch:
		return route{pattern, r.Method, status}
	case "":
		return route{pattern, http.MethodGet, status}
	}
	return route{pattern, "other", status}
}

// The causes of [Record].Cause.
const (
	CauseAborted = "aborted" // the client has gone
	CauseIdle    = "idle"    // see [Options].IdleLimit
	CauseEnded   = "ended"   // see [Stats.End]
	CausePanic   = "panic"   // the handler did not return
)

// cause returns why a request did not end well, empty if it did.
func (w *response) cause(r *http.Request, idle, ended bool) string {
	switch {
	case idle:
		return CauseIdle
	case ended:
		return CauseEnded
	case w.broken || errors.Is(r.Context().Err(), context.Canceled):
		return CauseAborted
	case !w.returned:
		return CausePanic
	}
	return ""
}
