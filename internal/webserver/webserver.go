// Package webserver is an HTTP server with limits that protect it from its clients, behind
// package guard.
package webserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/page/guard"
)

// Limits that protect the server from its clients.
const (
	// MaxConns is the number of open connections. At the limit the one that is open for
	// longest is closed, so that clients that hold connections keep nobody out.
	MaxConns       = 256
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	// writeTimeout is for a whole answer: a handler that takes longer sets its own with
	// [http.ResponseController].
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	stopTimeout  = time.Second
)

// HostFlag is the flag of the commands that adds a name to [Options].Hosts.
const HostFlag = "--http-host"

// Options are the settings of a [Server].
type Options struct {
	// Listen is [HOST:]PORT. A port alone is that of 127.0.0.1, and an empty host before the
	// colon means all addresses. Port 0 is any free port.
	Listen string
	// Hosts are names of this host besides those that it knows: see [guard.Options].
	Hosts []string
	// StopTime is how long requests may still take when the server ends, 1 s if it is 0. A
	// connection that a browser opened ahead of need counts as one.
	StopTime time.Duration
	// Serve serves connections with TLS or authentication. Nil serves plain HTTP to everyone.
	Serve func(net.Listener, *http.Server) error
	// TLS says that Serve encrypts connections.
	TLS bool
}

// Check returns an error if the address or a name is malformed. It begins with the key of the
// setting, "http" or "http-host".
func (o Options) Check() error {
	if _, _, err := o.address(); err != nil {
		return err
	}
	for _, name := range o.Hosts {
		if name == "" || strings.ContainsAny(name, "/ \t\n") {
			return fmt.Errorf("http-host %q: use the name of a host", name)
		}
	}
	return nil
}

// address returns the address to listen on, and whether it means all addresses.
func (o Options) address() (addr string, all bool, err error) {
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
}

// Listen opens the socket. It logs a warning if it is one for all addresses. A nil log is
// discarded.
func Listen(o Options, h http.Handler, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	addr, all, _ := o.address()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // the message names the address already
		}
		return nil, fmt.Errorf("http %s: %w", addr, err)
	}
	if all && o.Serve == nil {
		log.Warn("http: all addresses are served, without TLS and authentication", "address", l.Addr())
	} else if all {
		log.Warn("http: all addresses are served", "address", l.Addr())
	}
	s := &Server{options: o, socket: newLimited(l, MaxConns)}
	s.server = &http.Server{
		Handler:           guard.New(guard.Options{Names: o.Hosts, Flag: HostFlag, Log: log}).Handler(h),
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

// URL returns an address of the server for a browser on this host.
func (s *Server) URL() string {
	scheme, addr := "http", s.Addr().(*net.TCPAddr).AddrPort()
	if s.options.TLS {
		scheme = "https"
	}
	host := addr.String()
	if addr.Addr().IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", addr.Port())
	}
	return scheme + "://" + host + "/"
}

// Close closes the socket of a server that was not served.
func (s *Server) Close() error { return s.socket.Close() }

// Serve answers requests until ctx ends, and then those that are under way. It returns an
// error if the socket fails.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.Background(), cmp.Or(s.options.StopTime, stopTimeout))
		defer cancel()
		if s.server.Shutdown(late) != nil {
			_ = s.server.Close()
		}
	})
	var err error
	if s.options.Serve != nil {
		err = s.options.Serve(s.socket, s.server)
	} else {
		err = s.server.Serve(s.socket)
	}
	if !stop() {
		<-stopped
	}
	_ = s.socket.Close()
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("http: %w", err)
}

// limited is a listener with a limit of open connections. At the limit it closes the one
// that is open for longest.
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
