// Package httpserver is the HTTP server of apmon-recv: it serves /metrics, /healthz, and the
// page. Package guard decides for all of them which names and sites are answered.
//
// TLS and basic authentication come from a file in the format that all exporters of Prometheus
// have: https://prometheus.io/docs/prometheus/latest/configuration/https/. Certificates and
// users are read again for each connection and request.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/apmon-go/apmon/internal/page/guard"
)

// Options say where the server listens.
type Options struct {
	// Listen is [HOST:]PORT. A port alone is that of 127.0.0.1, and an empty host before the
	// colon means all addresses. Port 0 is any free port.
	Listen string `yaml:"http"`
	// Config is a file with the settings of TLS and authentication, empty for none.
	Config string `yaml:"http-config"`
	// Hosts are names of this host by which it is asked, beside addresses, localhost and those
	// that it knows itself: see package guard.
	Hosts []string `yaml:"http-host"`
}

// Handlers answer requests.
type Handlers struct {
	Metrics http.Handler // of /metrics
	// Healthy returns why the receiver does not work, nil if it does.
	Healthy func() error
	// Page answers all other requests; nil for none.
	Page http.Handler
}

// Limits that protect the server from its clients.
const (
	maxConns       = 256
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	// writeTimeout is for a whole answer: a handler that takes longer sets its own with
	// [http.ResponseController].
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	// stopTimeout is how long requests may still take when the server ends.
	stopTimeout = 5 * time.Second
)

// Check returns an error if the address or a name is malformed, or the file cannot be used.
func (o Options) Check() error {
	if _, _, err := o.addr(); err != nil {
		return err
	}
	for _, name := range o.Hosts {
		if name == "" || strings.ContainsAny(name, "/ \t\n") {
			return fmt.Errorf("http-host %q: use the name of a host", name)
		}
	}
	if err := web.Validate(o.Config); err != nil {
		return fmt.Errorf("http-config %s: %w", o.Config, err)
	}
	return nil
}

// addr returns the address to listen on, and whether it means all addresses.
func (o Options) addr() (addr string, all bool, err error) {
	host, port := "127.0.0.1", o.Listen
	if _, e := strconv.ParseUint(o.Listen, 10, 64); e != nil {
		if host, port, err = net.SplitHostPort(o.Listen); err != nil {
			return "", false, fmt.Errorf("http %q: use [HOST:]PORT, such as 8080, :8080 or [::1]:8080", o.Listen)
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false, fmt.Errorf("http %q: port %q is not a number from 0 to 65535", o.Listen, port)
	}
	ip := net.ParseIP(host)
	return net.JoinHostPort(host, port), host == "" || ip != nil && ip.IsUnspecified(), nil
}

// Server is an HTTP server. Use [Listen].
type Server struct {
	options Options
	socket  *limited
	server  *http.Server
	log     *slog.Logger
}

// Listen opens the socket. It logs a warning if it is one for all addresses. Nil discards
// the log.
func Listen(o Options, h Handlers, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	addr, all, _ := o.addr()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // the message names the address already
		}
		return nil, fmt.Errorf("http %s: %w", addr, err)
	}
	if all && o.Config == "" {
		log.Warn("http: all addresses are served, without TLS and authentication", "address", l.Addr())
	} else if all {
		log.Warn("http: all addresses are served", "address", l.Addr())
	}
	s := &Server{options: o, socket: newLimited(l, maxConns), log: log}
	s.server = &http.Server{
		Handler:           guard.New(guard.Options{Names: o.Hosts, Flag: "--http-host", Log: log}).Handler(h.mux()),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout, // no request has a body
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr returns the address of the socket.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Close closes the socket of a server that was not served.
func (s *Server) Close() error { return s.socket.Close() }

// Serve answers requests until ctx ends, and then those that are under way. It returns an
// error if the socket fails.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if s.server.Shutdown(late) != nil {
			_ = s.server.Close()
		}
	})
	config := s.options.Config
	err := web.Serve(s.socket, s.server, &web.FlagConfig{WebConfigFile: &config}, quieter(s.log))
	if !stop() {
		<-stopped
	}
	_ = s.socket.Close()
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("http: %w", err)
}

// quieter returns a logger for the library, which reports at each start that TLS is off.
func quieter(log *slog.Logger) *slog.Logger { return slog.New(warnings{log.Handler()}) }

// warnings passes on warnings and errors.
type warnings struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// mux routes requests.
func (h Handlers) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/metrics", h.Metrics)
	mux.HandleFunc("/healthz", h.healthz)
	if h.Page != nil {
		mux.Handle("/", h.Page)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not found: there are /metrics and /healthz", http.StatusNotFound)
		})
	}
	return mux
}

func (h Handlers) healthz(w http.ResponseWriter, _ *http.Request) {
	if h.Healthy != nil {
		if err := h.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// limited is a listener with a limit of open connections. At the limit it closes the one
// that is open for longest, so that clients that hold connections keep nobody out.
type limited struct {
	net.Listener
	max int

	mu   sync.Mutex
	open []*conn // the oldest first
}

func newLimited(l net.Listener, most int) *limited { return &limited{Listener: l, max: most} }

// Accept implements [net.Listener].
func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: c, of: l}
	l.mu.Lock()
	l.open = append(l.open, k)
	var oldest *conn
	if len(l.open) > l.max {
		oldest = l.open[0]
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	return k, nil
}

// conn is a connection that counts.
type conn struct {
	net.Conn
	of *limited
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	l := c.of
	l.mu.Lock()
	for i, k := range l.open {
		if k == c {
			l.open = append(l.open[:i], l.open[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	return c.Conn.Close()
}
