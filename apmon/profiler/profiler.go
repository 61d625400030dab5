// Package profiler serves the profiles of a program on a port of its own, and writes
// CPU profiles to its log on request.
//
//	p, err := profiler.Listen("127.0.0.1:6060", profiler.Options{})
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//
// Then "go tool pprof http://127.0.0.1:6060/profile?seconds=10" shows where the
// program spends its CPU time, and, without tools, so does
// "curl 'http://127.0.0.1:6060/profile?format=text&sort=cum&seconds=2'".
//
// # How it works
//
// The profiles are those of package runtime/pprof. Nothing is registered on
// http.DefaultServeMux. For the log and as text, the package decodes the CPU profile itself and
// adds up the time of each function. Until a profile is requested it costs one
// goroutine that waits for connections.
package profiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon/internal/loopback"
	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/internal/page/guard"
)

// MaxProfile is the longest CPU profile.
const MaxProfile = 10 * time.Minute

// ErrRunning is the error of [Profiler.StartLogging] while it is already logging.
var ErrRunning = errors.New("profiler: already logging")

// Options are the settings of a profiler.
type Options struct {
	// Remote permits an address that is not loopback, and answers every client, except
	// pages of other sites, as far as the browser names them: profiles reveal the
	// program's code and, in part, its data.
	Remote bool
}

// Option replaces the logger.
type Option func(*Profiler)

// WithLogger sets the logger, which [Profiler.StartLogging] needs. By default
// nothing is logged.
func WithLogger(l *slog.Logger) Option { return func(p *Profiler) { p.log = l } }

// Profiler serves profiles. Make one with [Listen].
type Profiler struct {
	log      *slog.Logger
	remote   bool
	listener net.Listener
	server   http.Server
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	served   chan struct{}

	mu   sync.Mutex
	last []byte             // the last profile that was shown or logged
	stop context.CancelFunc // ends the logging; nil when none runs
	done chan struct{}      // closed when the logging has ended
}

// Listen serves profiles at an address, host:port with port 0 for a free one, until
// [Profiler.Close]:
//
//	GET  /profile?seconds=10         a CPU profile, for go tool pprof
//	GET  /profile?format=text        the same as a table of functions, sorted by their own time
//	                                 (sort=flat) or by that with their callees (sort=cum)
//	GET  /last?sort=flat             the last profile in text or for the log as such a table, or
//	                                 "No profiling data"
//	GET  /heap                       the profile of that name in runtime/pprof; also allocs,
//	                                 block, goroutine, mutex and threadcreate
//	POST /start?seconds=10&every=60  see [Profiler.StartLogging]; without every, once
//	POST /stop                       see [Profiler.StopLogging]
//
// Unless Remote is set, an address that is not loopback is an error, and only
// requests from this machine are answered; others get 403. A process can run one
// CPU profile at a time; a second request gets 409.
func Listen(address string, options Options, opts ...Option) (*Profiler, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("profiler: %w", err)
	}
	if !options.Remote && !loopback.Addr(addr.AddrPort().Addr()) {
		return nil, fmt.Errorf("profiler: %s is not a loopback address", address)
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("profiler: %w", err)
	}
	p := &Profiler{log: slog.New(slog.DiscardHandler), remote: options.Remote, listener: listener, served: make(chan struct{})}
	for _, o := range opts {
		o(p)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.server = http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		Handler:           p.handler(),
	}
	go func() {
		defer close(p.served)
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.LogAttrs(context.Background(), slog.LevelError, "profiler no longer listens", slog.String("error", err.Error()))
		}
	}()
	return p, nil
}

// handler answers the permitted requests, others with 403.
func (p *Profiler) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /profile", p.serveCPU)
	mux.HandleFunc("GET /last", p.serveLast)
	mux.HandleFunc("GET /{name}", serveNamed)
	mux.HandleFunc("POST /start", p.serveStart)
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { p.StopLogging() })
	// Without the checks, a page of another site in a browser could start profiling.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !guard.Own(r) || !p.remote && !(loopback.Request(r) && loopback.SameSite(r)) {
			http.Error(w, "not from here", http.StatusForbidden)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// Addr returns the address that p listens on.
func (p *Profiler) Addr() net.Addr { return p.listener.Addr() }

// Close ends the profiles under way and stops listening. It may be called more than
// once.
func (p *Profiler) Close() error {
	p.cancel()
	p.StopLogging()
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	err := p.server.Shutdown(ctx) // waits for the requests, which end with p.ctx
	if err != nil {
		err = p.server.Close()
	}
	<-p.served
	return err
}

// StartLogging writes CPU profiles to the log: the functions that used most CPU time
// during length. It logs one profile or, if every is not 0, one profile at each such
// interval. It returns at once. The error is [ErrRunning], or names a time out of
// range: a profile lasts from 1 ms to [MaxProfile], and less than every.
func (p *Profiler) StartLogging(length, every time.Duration) error {
	if err := checkLength(length); err != nil {
		return err
	}
	if every != 0 && every <= length {
		return fmt.Errorf("profiler: a profile of %v every %v", length, every)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return errors.New("profiler: profiler is closed")
	}
	if p.stop != nil {
		return ErrRunning
	}
	ctx, stop := context.WithCancel(p.ctx)
	done := make(chan struct{})
	p.stop, p.done = stop, done
	go func() {
		defer close(done)
		p.run(ctx, length, every)
		p.mu.Lock()
		defer p.mu.Unlock()
		stop()
		p.stop = nil
	}()
	return nil
}

// StopLogging ends the logging and waits for its end. It logs the profile under way,
// which ends now. It does nothing if the logging is not running.
func (p *Profiler) StopLogging() {
	p.mu.Lock()
	stop, done := p.stop, p.done
	p.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}

func (p *Profiler) run(ctx context.Context, length, every time.Duration) {
	for {
		start := time.Now()
		p.logProfile(ctx, length)
		if every == 0 || !backoff.Sleep(ctx, every-time.Since(start)) {
			return
		}
	}
}

// logged is the number of functions in a logged profile.
const logged = 15

func (p *Profiler) logProfile(ctx context.Context, length time.Duration) {
	profile, err := cpuProfile(ctx, length)
	var total time.Duration
	var top []spent
	if err == nil {
		p.keep(profile)
		total, top, err = busiest(profile, logged, false)
	}
	if err != nil {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "no CPU profile", slog.String("error", err.Error()))
		return
	}
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "CPU profile", slog.Duration("cpu", total), slog.Duration("of", length), slog.Int("functions", len(top)))
	for _, f := range top {
		p.log.LogAttrs(context.Background(), slog.LevelInfo, "CPU profile", slog.String("function", f.name), slog.Duration("self", f.self), slog.Duration("with_callees", f.all))
	}
}

func checkLength(length time.Duration) error {
	if length < time.Millisecond || length > MaxProfile {
		return fmt.Errorf("profiler: a profile of %v, at most %v", length, MaxProfile)
	}
	return nil
}

// cpuProfile profiles for length, or until ctx ends.
func cpuProfile(ctx context.Context, length time.Duration) ([]byte, error) {
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("profiler: %w", err)
	}
	backoff.Sleep(ctx, length)
	pprof.StopCPUProfile()
	return b.Bytes(), nil
}

// seconds parses a parameter of a request, a number of seconds.
func seconds(r *http.Request, name string, byDefault time.Duration) (time.Duration, error) {
	s := r.FormValue(name)
	if s == "" {
		return byDefault, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v <= 1e9) {
		return 0, fmt.Errorf("profiler: %s of %q", name, s)
	}
	return time.Duration(v * float64(time.Second)), nil
}

const defaultProfile = 10 * time.Second

func (p *Profiler) serveCPU(w http.ResponseWriter, r *http.Request) {
	length, err := seconds(r, "seconds", defaultProfile)
	if err == nil {
		err = checkLength(length)
	}
	text, cum, e := shape(r)
	if err = errors.Join(err, e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b, err := cpuProfile(r.Context(), length)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if text {
		p.keep(b)
		serveText(w, b, cum)
		return
	}
	serveProfile(w, b)
}

// shape returns whether a request asks for text, and to sort it by the time with callees.
func shape(r *http.Request) (text, cum bool, err error) {
	switch v := r.FormValue("format"); v {
	case "", "pprof":
	case "text":
		text = true
	default:
		err = fmt.Errorf("profiler: format of %q, not text or pprof", v)
	}
	switch v := r.FormValue("sort"); v {
	case "", "flat":
	case "cum":
		cum = true
	default:
		err = errors.Join(err, fmt.Errorf("profiler: sort of %q, not flat or cum", v))
	}
	return text, cum, err
}

// keep keeps a profile for /last.
func (p *Profiler) keep(profile []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = profile
}

func (p *Profiler) serveLast(w http.ResponseWriter, r *http.Request) {
	_, cum, err := shape(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last == nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, noData)
		return
	}
	serveText(w, last, cum)
}

// noData is the answer without a profile, or without a sample in it.
const noData = "No profiling data"

// serveText answers with the functions of a CPU profile.
func serveText(w http.ResponseWriter, profile []byte, cum bool) {
	total, top, err := busiest(profile, math.MaxInt, cum)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if total == 0 {
		fmt.Fprintln(w, noData)
		return
	}
	fmt.Fprintf(w, "CPU time: %.2f s\n%10s %7s %10s %7s  %s\n", total.Seconds(), "flat", "flat%", "cum", "cum%", "function")
	for _, f := range top {
		fmt.Fprintf(w, "%9.2fs %6.2f%% %9.2fs %6.2f%%  %s\n", f.self.Seconds(), 100*float64(f.self)/float64(total), f.all.Seconds(), 100*float64(f.all)/float64(total), f.name)
	}
}

func serveNamed(w http.ResponseWriter, r *http.Request) {
	profile := pprof.Lookup(r.PathValue("name"))
	if profile == nil {
		http.NotFound(w, r)
		return
	}
	var b bytes.Buffer
	if err := profile.WriteTo(&b, 0); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	serveProfile(w, b.Bytes())
}

func serveProfile(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b) // the client may have gone
}

func (p *Profiler) serveStart(w http.ResponseWriter, r *http.Request) {
	length, err := seconds(r, "seconds", defaultProfile)
	every := time.Duration(0)
	if err == nil {
		every, err = seconds(r, "every", 0)
	}
	if err == nil {
		err = p.StartLogging(length, every)
	}
	switch {
	case errors.Is(err, ErrRunning):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
