package httpstats

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/apmon-go/apmon/internal/histogram"
)

// DefaultPrefix begins the names of all parameters.
const DefaultPrefix = "http_"

// Stats counts the requests of a server. It is an apmon.Source and safe for concurrent
// use.
type Stats struct {
	names     []string // of the parameters, with the prefix
	idleLimit time.Duration
	loggers   []func(*Record)
	noLog     []netip.Prefix
	user      func(*http.Request) string
	fields    func([]Field, *http.Request) []Field

	start time.Time

	own *Reader // of Collect

	mu        sync.Mutex          // guards the fields below
	durations histogram.Histogram // ms; its count is that of the requests that ended
	window
	totals
	routes  routes
	active  active
	cut     extremes // since a reader last read
	readers []weak.Pointer[Reader]
	counts  histogram.Window // of the reader that reads
}

// totals are counts since New.
type totals struct {
	requests           uint64
	bytes              int64
	classes            [6]uint64 // by the first digit of the status
	ended              ending
	took               float64 // s; ended.took wraps after ten days of 10 000 requests at once
	localhost, private uint64

	peakCount, peakRate, peakBitrate peak
}

// Options are the settings of a [Stats]. The zero value of each is its default.
type Options struct {
	// Prefix begins the names of all parameters, by default [DefaultPrefix];
	// NoPrefix leaves it out.
	Prefix   string
	NoPrefix bool
	// IdleLimit is the time without a write to the response after which a request
	// is ended; 0 means never. It is meant for servers that stream to clients that
	// may stall. It also ends a request whose response has not begun, such as a long
	// upload.
	//
	// A write under way, and every later one, fails; so does reading the request.
	// The request's context ends with the cause [ErrIdle]. When the handler has
	// returned, the connection is closed; an HTTP/2 connection stays, and only the
	// stream is reset. A handler that neither reads, writes nor checks the context
	// continues, and so does its request. Hijacked connections are not ended. Long
	// writes are done in pieces of 64 KiB: a client that receives a piece in less
	// than the limit is not idle.
	IdleLimit time.Duration
	// Log functions are called with a record of each request that has ended, in the
	// goroutine that served it, one after the other. A function may change the
	// record for the functions after it, for example to remove the query. It may
	// keep the record.
	Log []func(*Record)
	// NoLog are networks whose clients are counted but not logged. IPv4 networks
	// may be written as IPv4-mapped. Clients on unix sockets are in no network.
	NoLog []netip.Prefix
	// User returns the user of a request for the log, empty for unknown. It is
	// called when the request has ended, with the request that the wrapped handler
	// got. By default no user is known: the Authorization header is never read,
	// since the name in it may be a secret.
	User func(*http.Request) string
	// AppendFields appends fields of a request for the log, such as an id that the program
	// gives it. It is called like User. Together they may have 1 KiB; further ones are left
	// out, and so are those with the name of another field.
	AppendFields func(fields []Field, r *http.Request) []Field
}

// New returns a Stats that counts from now on.
func New(o Options) *Stats {
	s := &Stats{idleLimit: o.IdleLimit, loggers: slices.Clone(o.Log), user: o.User, fields: o.AppendFields, start: time.Now(), cut: noExtremes}
	s.active.first.next, s.active.first.before = &s.active.first, &s.active.first
	for _, p := range o.NoLog {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		s.noLog = append(s.noLog, p)
	}
	prefix := cmp.Or(o.Prefix, DefaultPrefix)
	if o.NoPrefix {
		prefix = ""
	}
	for i := range rows {
		s.names = append(s.names, prefix+rows[i].Name)
	}
	s.own = s.NewReader()
	return s
}

// begun counts a request that begins now.
func (s *Stats) begun(w *response, local, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(w.began)
	s.slot(s.second).begun++
	s.requests++
	s.inProgress++
	s.peakCount.raise(s.inProgress, 0)
	if local {
		s.localhost++
	}
	if private {
		s.private++
	}
	w.id = s.requests
	s.active.add(w)
}

// sent counts bytes of a request that were written now.
func (s *Stats) sent(w *response, at time.Duration, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(at)
	s.slot(s.second).bytes += n
	s.bytes += n
	w.bytes += n
}

// finished counts a request that ends now, and reports whether [Stats.End] has ended it.
// Status 0 means none; share is the share of the resource that was sent, negative if it does
// not count.
func (s *Stats) finished(w *response, at time.Duration, route route, share float64) (ended bool) {
	took := at - w.began
	seconds := took.Seconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(at)
	s.durations.Observe(1000 * seconds)
	s.inProgress--
	if class := int(w.status / 100); class < len(s.classes) {
		s.classes[class]++
	}
	s.ended.count++
	s.ended.took += took
	s.took += seconds
	if share >= 0 {
		s.ended.large++
		s.ended.shares += share
	}
	s.cut.add(extremes{took, took})
	s.routes.count(route)
	s.active.remove(w)
	return w.ended
}

// now returns the time since the start. It is the clock of all counts: one reading of a clock
// costs half of that of time.Now.
func (s *Stats) now() time.Duration { return time.Since(s.start) }

// advance moves the window to a time, and updates the peaks for the complete seconds. A time
// before the last is treated as the last: the goroutine that reads the clock first may
// take the lock second. The caller holds s.mu.
func (s *Stats) advance(at time.Duration) {
	whole := func(second int64, one *slot) {
		ago := at - time.Duration(second)*time.Second
		s.peakRate.raise(one.begun, ago)
		s.peakBitrate.raise(8*one.bytes, ago)
	}
	s.window.advance(at, whole)
}

// origin returns the client of a request; addr is invalid if the client has no IP
// address. A local client is also private.
func origin(r *http.Request) (addr netip.Addr, local, private bool) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		addr = ap.Addr().Unmap()
	} else if addr, err = netip.ParseAddr(r.RemoteAddr); err == nil {
		addr = addr.Unmap() // set by an outer handler, without a port
	} else {
		local = onUnixSocket(r)
		return addr, local, local
	}
	local = addr.IsLoopback()
	return addr, local, local || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

func onUnixSocket(r *http.Request) bool {
	server, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && server.Network() == "unix"
}
