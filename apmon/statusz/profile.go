package statusz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// MaxProfile is the longest CPU profile.
const MaxProfile = 10 * time.Minute

// ErrProfiling: profiles are being written to the log already.
var ErrProfiling = errors.New("statusz: profiling to the log runs already")

// ProfileOptions say where a profiler listens, and where it logs.
type ProfileOptions struct {
	Addr string // host:port; port 0 for a free one
	// Remote lets it listen on another address than loopback, and answer anybody:
	// profiles tell of the program's code and, in part, of its data.
	Remote bool
	Logger *slog.Logger // nil for no log
}

// Profiler serves profiles on a port of its own. Make one with [Profile].
type Profiler struct {
	log      *slog.Logger
	listener net.Listener
	server   http.Server
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	served   chan struct{}

	mu   sync.Mutex
	stop context.CancelFunc // of what Start has begun; nil when nothing runs
	done chan struct{}      // closed when that has ended
}

// Profile listens for requests for profiles until [Profiler.Close]:
//
//	GET  /profile?seconds=10         a CPU profile, for go tool pprof
//	GET  /heap (allocs, block, goroutine, mutex, threadcreate)  what runtime/pprof has under that name
//	POST /start?seconds=10&every=60  see [Profiler.Start]; without every, once
//	POST /stop                       see [Profiler.Stop]
//
// Unless Remote is set, an address that is not of loopback is an error, and only
// requests that are [Loopback] are answered. There is one CPU profile at a time in
// a process; who asks for another gets 409.
func Profile(o ProfileOptions) (*Profiler, error) {
	addr, err := net.ResolveTCPAddr("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("statusz: profiler: %w", err)
	}
	if !o.Remote && !loopback(addr.AddrPort().Addr()) {
		return nil, fmt.Errorf("statusz: profiler: %s is not a loopback address", o.Addr)
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("statusz: profiler: %w", err)
	}
	p := &Profiler{log: o.Logger, listener: listener, served: make(chan struct{})}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /profile", p.serveCPU)
	mux.HandleFunc("GET /{name}", serveNamed)
	mux.HandleFunc("POST /start", p.serveStart)
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { p.Stop() })
	// A page in a browser could start profiling.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	p.server = http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !o.Remote && !(Loopback(r) && noOtherSite(r)) {
				http.Error(w, "not from here", http.StatusForbidden)
				return
			}
			guarded.ServeHTTP(w, r)
		}),
	}
	go func() {
		defer close(p.served)
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.LogAttrs(context.Background(), slog.LevelError, "profiler listens no more", slog.String("error", err.Error()))
		}
	}()
	return p, nil
}

// Addr returns the address it listens on.
func (p *Profiler) Addr() net.Addr { return p.listener.Addr() }

// Close ends profiles under way and stops listening. It may be called more than
// once.
func (p *Profiler) Close() error {
	p.cancel()
	p.Stop()
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	err := p.server.Shutdown(ctx) // waits for the requests, which have ended
	if err != nil {
		err = p.server.Close()
	}
	<-p.served
	return err
}

// Start writes CPU profiles to the log: the functions that most time was spent in
// during the time given, once, or again and again so long after each start. It
// returns at once; the errors are [ErrProfiling], and times that cannot be: a
// profile lasts from 1 ms to [MaxProfile], and less than what lies between two.
func (p *Profiler) Start(length, every time.Duration) error {
	if err := checkLength(length); err != nil {
		return err
	}
	if every != 0 && every <= length {
		return fmt.Errorf("statusz: a profile of %v every %v", length, every)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return errors.New("statusz: profiler is closed")
	}
	if p.stop != nil {
		return ErrProfiling
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

// Stop ends what [Profiler.Start] has begun, and waits for it; what was profiled
// until now is logged. It does nothing if nothing runs.
func (p *Profiler) Stop() {
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
		if every == 0 || !sleep(ctx, every-time.Since(start)) {
			return
		}
	}
}

// logged is how many functions a profile in the log has.
const logged = 15

func (p *Profiler) logProfile(ctx context.Context, length time.Duration) {
	profile, err := cpuProfile(ctx, length)
	var total time.Duration
	var top []spent
	if err == nil {
		total, top, err = busiest(profile, logged)
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
		return fmt.Errorf("statusz: a profile of %v, at most %v", length, MaxProfile)
	}
	return nil
}

// cpuProfile profiles for that long, or until ctx ends.
func cpuProfile(ctx context.Context, length time.Duration) ([]byte, error) {
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("statusz: %w", err)
	}
	sleep(ctx, length)
	pprof.StopCPUProfile()
	return b.Bytes(), nil
}

// sleep reports whether the time has passed; ctx may end it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// seconds returns a parameter of a request, in seconds.
func seconds(r *http.Request, name string, byDefault time.Duration) (time.Duration, error) {
	s := r.FormValue(name)
	if s == "" {
		return byDefault, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v <= 1e9) {
		return 0, fmt.Errorf("statusz: %s of %q", name, s)
	}
	return time.Duration(v * float64(time.Second)), nil
}

const defaultProfile = 10 * time.Second

func (p *Profiler) serveCPU(w http.ResponseWriter, r *http.Request) {
	length, err := seconds(r, "seconds", defaultProfile)
	if err == nil {
		err = checkLength(length)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b, err := cpuProfile(r.Context(), length)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	serveProfile(w, b)
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
	_, _ = w.Write(b) // who has gone needs no answer
}

func (p *Profiler) serveStart(w http.ResponseWriter, r *http.Request) {
	length, err := seconds(r, "seconds", defaultProfile)
	every := time.Duration(0)
	if err == nil {
		every, err = seconds(r, "every", 0)
	}
	if err == nil {
		err = p.Start(length, every)
	}
	switch {
	case errors.Is(err, ErrProfiling):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
