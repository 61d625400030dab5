// Package prom serves the last values of a [history.Store] and the receiver's own metrics to
// Prometheus.
//
// # Values
//
// A parameter is exported under the metric that the first matching [Rule] gives it, else as
// apmon_param{cluster,node,param}. Series end when no value has come for a time: see
// [history.Options]. A text is exported only by a rule that makes it an info metric. For each
// node there is apmon_node_last_seen_timestamp_seconds{cluster,node}, for alerts. Two
// parameters of a node that rules give the same metric and labels clash: the one that came
// first is exported.
//
// A rule is looked for once per series, in the first scrape that finds it, and again after
// [Exporter.SetOptions].
//
// # Renderings
//
// Values are written by appending to chunks of memory that are used again, in version 0.0.4 of
// the text format or in OpenMetrics 1.0, as the client prefers. A scrape that begins during a
// rendering of its format takes part in it. At most three renderings exist, those that slow
// clients still read included; further scrapes wait.
//
// The receiver's own metrics come from client_golang.
package prom

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
)

// Limits of renderings.
const (
	// maxRenderings is the most that exist, with those that clients still read. Each is
	// about as long as the limit of the store's memory at most.
	maxRenderings = 3
	// maxWait is how long a scrape waits for one of them.
	maxWait = 5 * time.Second
)

var expositions = [formats]expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0}

// Exporter is the handler of /metrics. Use [New].
type Exporter struct {
	store *history.Store
	own   prometheus.Gatherer
	log   *slog.Logger
	rules atomic.Pointer[rules]
	// Of the last rendering.
	unexported atomic.Pointer[Unexported]
	renderings atomic.Uint64

	slots   chan struct{} // one for each rendering that exists
	mu      sync.Mutex
	pending [formats]*shared // under way
	free    []*rendering

	rendering sync.Mutex // one at a time
	renderer  renderer
}

// shared is a rendering for one scrape or more.
type shared struct {
	*rendering
	ready chan struct{} // closed when it can be read, or there was no room for it
	users int           // the last gives its memory back
}

// New returns an exporter of a store, and of what the sources report.
func New(store *history.Store, o Options, s Sources) (*Exporter, error) {
	e := &Exporter{store: store, log: s.Log, slots: make(chan struct{}, maxRenderings)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.unexported.Store(&Unexported{})
	e.own = newOwn(e, s)
	return e, e.SetOptions(o)
}

// SetOptions changes the rules, unless they have an error: see [Options.Check].
func (e *Exporter) SetOptions(o Options) error {
	rs, err := newRules(o)
	if err != nil {
		return err
	}
	e.rules.Store(rs)
	return nil
}

// Unexported returns the counts of the last scrape.
func (e *Exporter) Unexported() Unexported { return *e.unexported.Load() }

// ServeHTTP answers a scrape.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	chosen := expfmt.NegotiateAccept(req.Header, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtText)
	f := plainText
	if chosen.FormatType() == expfmt.TypeOpenMetrics {
		f = openMetrics
	}
	r := e.get(f)
	if r == nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many scrapes at once that read slowly", http.StatusServiceUnavailable)
		return
	}
	defer e.release(r)
	h := w.Header()
	h.Set("Content-Type", string(chosen))
	h.Set("Vary", "Accept, Accept-Encoding")
	if page.AcceptsGzip(req.Header) {
		h.Set("Content-Encoding", "gzip")
		z := zippers.Get().(*gzip.Writer)
		defer zippers.Put(z)
		z.Reset(w)
		if r.copyTo(z) == nil {
			_ = z.Close()
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(r.size))
	_ = r.copyTo(w) // the client has gone away
}

// Compression is fast rather than small: scrapes mostly stay in a machine room.
var (
	zippers = sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return z
	}}
	buffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 64<<10) }}
)

// copyTo writes the exposition in large pieces.
func (r *rendering) copyTo(w io.Writer) error {
	b := buffers.Get().(*bufio.Writer)
	defer buffers.Put(b)
	b.Reset(w)
	defer b.Reset(nil)
	if _, err := r.WriteTo(b); err != nil {
		return err
	}
	return b.Flush()
}

// get returns a rendering that is under way or begins now, nil if there was no room for one
// within maxWait. The caller releases it.
func (e *Exporter) get(f format) *shared {
	e.mu.Lock()
	s := e.pending[f]
	first := s == nil
	if first {
		s = &shared{ready: make(chan struct{})}
		e.pending[f] = s
	}
	s.users++
	e.mu.Unlock()
	if first {
		e.fill(s, f)
	} else {
		<-s.ready
	}
	if s.rendering == nil {
		return nil
	}
	return s
}

// fill makes a rendering and hands it to the scrapes that wait for it.
func (e *Exporter) fill(s *shared, f format) {
	defer close(s.ready)
	var r *rendering
	select {
	case e.slots <- struct{}{}:
		e.rendering.Lock()
		defer e.rendering.Unlock()
		r = e.take()
		e.render(r, f)
	case <-time.After(maxWait):
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.rendering = r
	e.pending[f] = nil
}

// take returns memory for a rendering, that which was used last.
func (e *Exporter) take() *rendering {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.free); n > 0 {
		r := e.free[n-1]
		e.free = e.free[:n-1]
		return r
	}
	return new(rendering)
}

func (e *Exporter) release(s *shared) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	s.reset()
	e.free = append(e.free, s.rendering)
	<-e.slots
}

// render writes all metrics.
func (e *Exporter) render(r *rendering, f format) {
	w := &e.renderer
	w.rendering, w.rules, w.format = r, e.rules.Load(), f
	w.values(e.store, time.Now())
	w.rendering = nil
	last := w.unexported
	e.unexported.Store(&last)
	e.renderings.Add(1)
	all, err := e.own.Gather()
	if err != nil {
		e.log.Warn("metrics of the receiver itself", "err", err)
	}
	enc := expfmt.NewEncoder(r, expositions[f])
	for _, m := range all {
		if err := enc.Encode(m); err != nil {
			e.log.Warn("metrics of the receiver itself", "err", err)
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		_ = c.Close() // OpenMetrics has an end mark
	}
}
