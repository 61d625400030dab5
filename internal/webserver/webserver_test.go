package webserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/testkit"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, addr string
		all          bool
		err          string
	}{
		{"9889", "127.0.0.1:9889", false, ""},
		{"0", "127.0.0.1:0", false, ""},
		{":9889", ":9889", true, ""},
		{"0.0.0.0:1", "0.0.0.0:1", true, ""},
		{"[::]:1", "[::]:1", true, ""},
		{"[::1]:1", "[::1]:1", false, ""},
		{"localhost:1", "localhost:1", false, ""},
		{"host", "", false, `http "host": use [HOST:]PORT`},
		{"", "", false, `http "": use [HOST:]PORT`},
		{"::1:1", "", false, "use [HOST:]PORT"},
		{"65536", "", false, `port "65536" is not a number from 0 to 65535`},
		{"host:http", "", false, `port "http"`},
		{"host:", "", false, `port ""`},
	} {
		o := Options{Listen: c.listen}
		addr, all, err := o.address()
		if addr != c.addr || all != c.all || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q %v %v, want %q %v %q", c.listen, addr, all, err, c.addr, c.all, c.err)
		}
		if got := o.Check(); (got == nil) != (err == nil) {
			t.Errorf("%q: Check returns %v", c.listen, got)
		}
	}
}

// hello answers each request.
var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })

// start runs a server and returns its address. The end of the test ends it.
func start(t *testing.T, o Options, h http.Handler) (addr string, end func()) {
	t.Helper()
	o.Listen = "0"
	s, err := Listen(o, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Serve(t, s)
}

// Other names of this host are answered if they are given.
func TestHosts(t *testing.T) {
	t.Parallel()
	var log testkit.Log
	s, err := Listen(Options{Listen: "0", Hosts: []string{"page.example"}}, hello, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Serve(t, s)
	for host, want := range map[string]int{"page.example": 200, "localhost:1": 200, "evil.example": 421} {
		req, err := http.NewRequest("GET", s.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := testkit.Client(t, nil).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
	if log.Count(`allow="--http-host evil.example"`) != 1 {
		t.Errorf("%s", log.String())
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{}, hello)
	for method, want := range map[string]string{"GET": "200 hello\n", "HEAD": "200 ", "POST": "405 GET and HEAD only\n", "DELETE": "405 GET and HEAD only\n"} {
		if r, body := testkit.HTTP(t, testkit.Client(t, nil), method, "http://"+addr); fmt.Sprint(r.StatusCode, " ", body) != want {
			t.Errorf("%s: %d %q, want %q", method, r.StatusCode, body, want)
		}
	}
}

func TestAllAddressesAreWarnedOf(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]int{":0": 1, "0": 0, "127.0.0.1:0": 0, "[::]:0": 1} {
		var log testkit.Log
		s, err := Listen(Options{Listen: listen}, http.NotFoundHandler(), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := log.Count("level=WARN msg=\"http: all addresses are served, without TLS and authentication\""); got != want {
			t.Errorf("%s: %s", listen, log.String())
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for listen, host := range map[string]string{"0": "127.0.0.1", ":0": "localhost", "0.0.0.0:0": "localhost"} {
		s, err := Listen(Options{Listen: listen}, hello, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		_, port, _ := net.SplitHostPort(s.Addr().String())
		if want := "http://" + host + ":" + port + "/"; s.URL() != want {
			t.Errorf("%s: %s, want %s", listen, s.URL(), want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{}, http.NotFoundHandler())
	_, err := Listen(Options{Listen: addr}, http.NotFoundHandler(), nil)
	if err == nil || strings.Count(err.Error(), addr) != 1 {
		t.Errorf("%v", err)
	}
}

// A request that is under way is answered when the server ends.
func TestGracefulEnd(t *testing.T) {
	t.Parallel()
	began, proceed := make(chan struct{}), make(chan struct{})
	addr, end := start(t, Options{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-proceed
		fmt.Fprintln(w, "whole")
	}))
	answer := make(chan string)
	c := testkit.Client(t, nil)
	go func() {
		_, body := testkit.HTTP(t, c, "GET", "http://"+addr+"/")
		answer <- body
	}()
	<-began
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	testkit.Eventually(t, "the socket to be closed", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(proceed)
	if got := <-answer; got != "whole\n" {
		t.Errorf("%q", got)
	}
	<-ended
}

// A handler that does not end holds up the end for StopTime.
func TestEndOfHangingRequests(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	addr, end := start(t, Options{StopTime: time.Millisecond}, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(began)
		<-req.Context().Done()
	}))
	failed := make(chan error, 1)
	c := testkit.Client(t, nil)
	go func() {
		_, err := c.Get("http://" + addr)
		failed <- err
	}()
	<-began
	end()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

// The stream of live pages lasts longer than a request may take to arrive.
func TestStream(t *testing.T) {
	t.Parallel()
	site := page.New(page.Options{Every: 20 * time.Millisecond})
	s, err := Listen(Options{Listen: "0"}, site, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.server.ReadTimeout, s.server.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() {
		site.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	resp, err := testkit.Client(t, nil).Get(s.URL() + page.LivePath[1:])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewScanner(resp.Body)
	for n := 0; n < 2*20; { // a line, and an empty one
		if !events.Scan() {
			t.Fatalf("the stream ended after %d lines: %v", n, events.Err())
		}
		n++
	}
}

// Serve replaces how connections are served.
func TestServe(t *testing.T) {
	t.Parallel()
	called := false
	addr, end := start(t, Options{Serve: func(l net.Listener, s *http.Server) error {
		called = true
		return s.Serve(l)
	}}, hello)
	if r, _ := testkit.HTTP(t, testkit.Client(t, nil), "GET", "http://"+addr); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	end()
	if !called {
		t.Error("not called")
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{}, hello)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	go fmt.Fprintf(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nLong: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Skipf("the connection was reset before the answer could be read: %v", err)
	}
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// Clients that hold connections keep nobody out.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{}, hello)
	var held []net.Conn
	for range MaxConns + 10 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	if r, _ := testkit.HTTP(t, testkit.Client(t, nil), "GET", "http://"+addr+"/"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	_ = held[0].SetReadDeadline(time.Now().Add(testkit.Patience))
	if _, err := held[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest connection is open: %v", err)
	}
}
