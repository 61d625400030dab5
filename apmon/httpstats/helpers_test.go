package httpstats

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// values returns the parameters by name, without the prefix.
func values(t testing.TB, s *Stats) map[string]float64 {
	t.Helper()
	params, err := s.Collect(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]float64{}
	for _, p := range params {
		m[strings.TrimPrefix(p.Name, DefaultPrefix)] = p.Float()
	}
	return m
}

// expect compares parameters; a negative value means an absent one.
func expect(t testing.TB, s *Stats, want map[string]float64) {
	t.Helper()
	got := values(t, s)
	for name, w := range want {
		if g, ok := got[name]; ok != (w >= 0) || ok && g != w {
			t.Errorf("%s: %v (%v), want %v", name, g, ok, w)
		}
	}
}

// eventually waits for parameters that depend on another goroutine.
func eventually(t testing.TB, s *Stats, want map[string]float64) {
	t.Helper()
	defer func() {
		if t.Failed() {
			expect(t, s, want)
		}
	}()
	testkit.Eventually(t, fmt.Sprint(want), func() bool {
		got := values(t, s)
		for name, w := range want {
			if got[name] != w {
				return false
			}
		}
		return true
	})
}

// serve serves a wrapped handler on loopback.
func serve(t testing.TB, s *Stats, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(s.Wrap(h))
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// pipes is a listener without a network, for simulated time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// servePipes serves a wrapped handler in simulated time, over HTTP/1 or HTTP/2.
func servePipes(t testing.TB, s *Stats, two bool, h http.HandlerFunc) *http.Client {
	t.Helper()
	p := newPipes()
	var protocols http.Protocols
	protocols.SetHTTP1(!two)
	protocols.SetUnencryptedHTTP2(two)
	server := &http.Server{Handler: s.Wrap(h), ErrorLog: quiet, Protocols: &protocols}
	transport := &http.Transport{DialContext: p.dial, Protocols: &protocols}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-served
	})
	return &http.Client{Transport: transport}
}
