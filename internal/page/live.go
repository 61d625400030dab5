package page

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// LivePath is the path of the stream that says when to ask for pages again.
const LivePath = "/live"

const (
	// maxStreams leaves connections to others: a browser without a stream asks by itself.
	maxStreams = 128
	// streamTimeout is how long a client may take to read an event.
	streamTimeout = 10 * time.Second
	// renderShare: rendering takes one part in so many of a core.
	renderShare = 20
	// maxAge is the longest time until a page that takes long is rendered again.
	maxAge = 30 * time.Second
	// maxRendered and maxRenderedBytes limit the pages that are kept. Others are rendered for
	// each request.
	maxRendered      = 64
	maxRenderedBytes = 8 << 20
)

// rendering is a page that is rendered once for the requests of an interval.
type rendering struct {
	done   chan struct{} // closed when the others are known
	body   *body         // nil if render panicked
	status int
	etag   string

	// Site.mu protects these. They are zero while the page is rendered.
	start, until time.Time // the page is used in between
}

// share returns the page of the address of a request. Requests that arrive while it is
// rendered wait for it.
func (s *Site) share(r *http.Request, render func(*http.Request) Page) *rendering {
	p, due, others := s.lookUp(r.URL.Path + "?" + r.URL.RawQuery)
	if due {
		s.render(p, others, r.WithContext(context.WithoutCancel(r.Context())), render)
	}
	select {
	case <-p.done:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	if p.body == nil {
		panic(http.ErrAbortHandler) // the request that rendered the page has logged why
	}
	return p
}

// lookUp returns the rendering of an address, whether the caller has to render it, and how
// many others there are.
func (s *Site) lookUp(address string) (p *rendering, due bool, others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, size := time.Now(), 0
	for key, p := range s.rendered {
		switch {
		case p.until.IsZero():
		case now.Before(p.start) || !now.Before(p.until): // the clock may have been set back
			delete(s.rendered, key)
		case p.body != nil:
			size += p.body.size()
		}
	}
	if p := s.rendered[address]; p != nil {
		return p, false, 0
	}
	p = &rendering{done: make(chan struct{})}
	others = len(s.rendered)
	if others < maxRendered && size < maxRenderedBytes {
		s.rendered[address] = p
	}
	return p, true, others
}

// render renders a page, with a number of others beside it.
func (s *Site) render(p *rendering, others int, r *http.Request, render func(*http.Request) Page) {
	start := time.Now()
	defer func() {
		cost := min(time.Since(start)*renderShare*time.Duration(others+1), maxAge)
		s.mu.Lock()
		p.start, p.until = start, start.Add(cost).Truncate(s.options.Every).Add(s.options.Every)
		s.mu.Unlock()
		close(p.done)
	}()
	page := render(r)
	b := newBody("text/html; charset=utf-8", s.html(r, page, true))
	b.compressed() // its cost counts
	p.status, p.etag, p.body = page.Status, `"`+strconv.FormatInt(start.UnixNano(), 36)+`"`, b
}

// serveStream sends an event at each interval, until the client leaves or the site is closed.
func (s *Site) serveStream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	full := s.streams >= maxStreams
	if !full {
		s.streams++
	}
	s.mu.Unlock()
	if full {
		http.Error(w, "too many streams: ask for the page again instead", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		s.mu.Lock()
		s.streams--
		s.mu.Unlock()
	}()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ended:
			return
		case <-r.Context().Done():
			return
		}
		now := time.Now()
		// The server limits the time of a whole answer, which this one exceeds.
		if control.SetWriteDeadline(now.Add(streamTimeout)) != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %d\n\n", now.UnixMilli()); err != nil || control.Flush() != nil {
			return
		}
		// All streams send at the same moments, so that a page is rendered for all at once.
		timer.Reset(now.Truncate(s.options.Every).Add(s.options.Every).Sub(now))
	}
}
