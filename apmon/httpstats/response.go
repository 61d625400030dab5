package httpstats

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// piece is the maximum number of bytes written at once: a slow client receives them in a
// few seconds.
const piece = 64 << 10

// Wrap returns a handler that calls h and counts its requests, see the package
// documentation.
func (s *Stats) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{rw: rw, s: s, method: r.Method, uri: requestURI(r), began: s.now(), size: -1, first: -1, last: -1}
		var local, private bool
		w.client, local, private = origin(r)
		if s.idleLimit > 0 {
			r = w.watch(r)
		}
		s.begun(w, local, private)
		defer w.finish(r)
		h.ServeHTTP(w.offer(), r)
		w.returned = true
	})
}

// requestURI returns the path and the query that the client sent; of an absolute URL, which may
// hold a password, and of a request made by a program, those of the URL.
func requestURI(r *http.Request) string {
	switch uri := r.RequestURI; {
	case strings.HasPrefix(uri, "/") || uri == "*" || r.Method == http.MethodConnect || r.URL == nil:
		return uri
	case r.URL.RawQuery == "":
		return r.URL.EscapedPath()
	}
	return r.URL.EscapedPath() + "?" + r.URL.RawQuery
}

// response wraps the ResponseWriter of a handler.
type response struct {
	rw     http.ResponseWriter
	s      *Stats
	idle   *idle // nil without a limit
	client netip.Addr
	began  time.Duration // since the start of s

	method, uri  string
	id           uint64
	next, before *response // in the ring of requests in progress

	hijacked bool  // changes with Stats.mu, like bytes, ended and the ring
	ended    bool  // by Stats.End
	returned bool  // the handler has returned: it did not panic
	broken   bool  // a write failed
	status   int32 // 0 before there is one
	bytes    int64

	// The size and range of the resource from the header, -1 for unknown.
	size, first, last int64

	// The fields of a ReadFrom under way.
	limited io.LimitedReader // its source; N is what remains, or what its last Read has read
	counted int64            // of all bytes read
}

func (w *response) Header() http.Header         { return w.rw.Header() }
func (w *response) Unwrap() http.ResponseWriter { return w.rw }

func (w *response) WriteHeader(status int) {
	final := w.status == 0 && !w.hijacked && (status >= 200 || status == http.StatusSwitchingProtocols)
	if final {
		w.readHeader(status)
	}
	w.rw.WriteHeader(status) // panics for an invalid status
	if final {
		w.status = int32(status)
	}
}

// implicit records the status of a response that begins without WriteHeader.
func (w *response) implicit() {
	if w.status == 0 && !w.hijacked {
		w.readHeader(http.StatusOK)
		w.status = http.StatusOK
	}
}

// readHeader reads the size and range of the resource from the header. Call it before
// WriteHeader: after that net/http copies the header on access.
func (w *response) readHeader(status int) {
	switch status {
	case http.StatusOK:
		if v := w.rw.Header()["Content-Length"]; len(v) > 0 {
			w.size = number(v[0])
		}
	case http.StatusPartialContent:
		if v := w.rw.Header()["Content-Range"]; len(v) > 0 {
			w.first, w.last, w.size = parseRange(v[0])
		}
	}
}

// parseRange parses a Content-Range; unknown numbers are -1.
func parseRange(s string) (first, last, size int64) {
	s, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(s, "/")
	a, b, ok3 := strings.Cut(span, "-")
	first, last = number(a), number(b)
	if !ok || !ok2 || !ok3 || first < 0 || last < first {
		return -1, -1, -1
	}
	return first, last, number(total)
}

// number parses a decimal number, or returns -1.
func number(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

func (w *response) Write(p []byte) (int, error) {
	w.implicit()
	for n := 0; ; {
		m, err := w.rw.Write(p[n:min(len(p), n+piece)])
		w.sent(int64(m), err)
		if n += m; n >= len(p) || err != nil || m <= 0 {
			return n, err
		}
	}
}

func (w *response) WriteString(s string) (int, error) {
	w.implicit()
	for n := 0; ; {
		m, err := io.WriteString(w.rw, s[n:min(len(s), n+piece)])
		w.sent(int64(m), err)
		if n += m; n >= len(s) || err != nil || m <= 0 {
			return n, err
		}
	}
}

// sent counts bytes that were written, with the error of the write.
func (w *response) sent(n int64, err error) {
	if err != nil {
		var op *net.OpError
		w.broken = w.broken || errors.As(err, &op) && op.Op != "read" // of the source of a copy
	}
	if n <= 0 || w.method == http.MethodHead { // net/http accepts the body of a response to HEAD, and does not send it
		return
	}
	at := w.s.now()
	if w.idle != nil {
		w.idle.wrote.Store(int64(at - w.began))
	}
	w.s.sent(w, at, n)
}

// readFrom implements ReadFrom for an original that has it.
func (w *response) readFrom(src io.Reader) (n int64, err error) {
	to := w.rw.(io.ReaderFrom)
	from, left := src, int64(-1)
	limited, _ := src.(*io.LimitedReader)
	if limited != nil {
		from, left = limited.R, max(0, limited.N)
	}
	if w.status == 0 && !w.hijacked {
		w.readHeader(http.StatusOK) // in case there is a body
	}
	if _, ok := from.(syscall.Conn); !ok {
		w.limited, w.counted = io.LimitedReader{R: src}, 0
		n, err = to.ReadFrom((*source)(w))
		if w.limited.R = nil; n > 0 {
			w.implicit()
		}
		w.sent(n-w.counted, err)
		return n, err
	}
	// The kernel can copy from a file or a connection, also through one
	// LimitedReader.
	for {
		w.limited = io.LimitedReader{R: from, N: piece}
		if left >= 0 {
			w.limited.N = min(piece, left)
		}
		asked := w.limited.N
		m, err := to.ReadFrom(&w.limited)
		if limited != nil {
			limited.N -= asked - w.limited.N
			left = max(0, limited.N)
		}
		if n += m; n > 0 {
			w.implicit()
		}
		w.sent(m, err)
		if err != nil || m < asked || left == 0 {
			w.limited.R = nil
			return n, err
		}
	}
}

// source is the reader of a ReadFrom. The next Read means that the bytes of the previous
// one have been written.
type source response

func (s *source) Read(p []byte) (n int, err error) {
	w := (*response)(s)
	if w.limited.N > 0 {
		w.implicit()
		w.sent(w.limited.N, nil)
		w.counted += w.limited.N
	}
	n, err = w.limited.R.Read(p)
	w.limited.N = int64(n)
	return n, err
}

func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.idle != nil {
		w.idle.mu.Lock()
		defer w.idle.mu.Unlock()
	}
	conn, buf, err := w.rw.(http.Hijacker).Hijack()
	if err == nil {
		w.s.mu.Lock()
		w.hijacked = true
		w.s.mu.Unlock()
		if w.idle != nil {
			w.idle.done = true
		}
	}
	return conn, buf, err
}

func (w *response) flush() error {
	w.implicit()
	if f, ok := w.rw.(interface{ FlushError() error }); ok {
		return f.FlushError()
	}
	w.rw.(http.Flusher).Flush()
	return nil
}

// finish counts the request as ended, and logs it. The handler may have panicked. If the
// request was ended before the handler returned, finish panics: the connection can no longer
// be used.
func (w *response) finish(r *http.Request) {
	at := w.s.now()
	idle := w.idle.stop()
	switch {
	case w.status > 0 || w.hijacked:
	case !w.returned:
		w.status = http.StatusInternalServerError
	case r.Context().Err() == nil:
		w.implicit()
	}
	took := at - w.began
	share := -1.0
	if w.size > largeResource && w.method != http.MethodHead {
		share = min(1, float64(w.bytes)/float64(w.size))
	}
	ended := w.s.finished(w, at, routeOf(r, int(w.status)), share)
	cause := ""
	if len(w.s.loggers) > 0 {
		cause = w.cause(r, idle, ended)
	}
	if w.idle != nil {
		w.idle.cancel(nil)
	}
	if len(w.s.loggers) > 0 {
		w.log(r, took, cause)
	}
	if (idle || ended) && w.returned {
		panic(http.ErrAbortHandler)
	}
}
