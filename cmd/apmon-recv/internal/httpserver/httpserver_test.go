package httpserver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/apmon-go/apmon/internal/testkit"
)

func TestCheck(t *testing.T) {
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
		addr, all, err := o.addr()
		if addr != c.addr || all != c.all || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q %v %v, want %q %v %q", c.listen, addr, all, err, c.addr, c.all, c.err)
		}
		if got := o.Check(); (got == nil) != (err == nil) {
			t.Errorf("%q: Check returns %v", c.listen, got)
		}
	}
	for name, ok := range map[string]bool{"monitor.example.org": true, "a:80": true, "": false, "http://a/": false, "a b": false} {
		if err := (Options{Listen: "0", Hosts: []string{name}}).Check(); (err == nil) != ok {
			t.Errorf("host %q: %v", name, err)
		}
	}
	bad := filepath.Join(t.TempDir(), "web.yml")
	for _, text := range []string{"", "tls_server_config:\n  cert_file: nowhere\n  key_file: nowhere\n", "basic_auth_users:\n  a: plain\n", "unknown: 1\n"} {
		if text != "" {
			if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := (Options{Listen: "0", Config: bad}).Check(); err == nil || !strings.Contains(err.Error(), "http-config "+bad) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// start runs a server and returns its address. The end of the test ends it.
func start(t *testing.T, o Options, h Handlers, log *slog.Logger) (addr string, end func()) {
	t.Helper()
	if h.Metrics == nil {
		h.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "metrics") })
	}
	s, err := Listen(o, h, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	var ended atomic.Bool
	end = func() {
		if ended.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return s.Addr().String(), end
}

func get(t *testing.T, c *http.Client, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 && resp.StatusCode != 400 && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s: type %q", url, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, string(b)
}

// client returns a client with its own connections, closed at the end.
func client(t *testing.T, config *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testkit.Patience}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	var ill atomic.Bool
	addr, _ := start(t, Options{Listen: "0"}, Handlers{Healthy: func() error {
		if ill.Load() {
			return errors.New("the socket is closed")
		}
		return nil
	}}, nil)
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("a port alone is %s", addr)
	}
	c := client(t, nil)
	check := func(method, path string, status int, body string) {
		t.Helper()
		if s, b := get(t, c, method, "http://"+addr+path); s != status || b != body {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, s, b, status, body)
		}
	}
	check("GET", "/metrics", 200, "metrics\n")
	check("HEAD", "/metrics", 200, "")
	check("POST", "/metrics", 405, "GET and HEAD only\n")
	check("GET", "/healthz", 200, "ok\n")
	ill.Store(true)
	check("GET", "/healthz", 503, "the socket is closed\n")
	const none = "not found: there are /metrics and /healthz\n"
	check("GET", "/", 404, none)
	check("GET", "/metrics/x", 404, none)
	check("GET", "/debug/pprof/", 404, none)

	addr, _ = start(t, Options{Listen: "0"}, Handlers{Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "page", r.URL.Path)
	})}, nil)
	check("GET", "/", 200, "page /\n")
	check("GET", "/api", 200, "page /api\n")
	check("GET", "/metrics", 200, "metrics\n")
	check("GET", "/healthz", 200, "ok\n")
}

func TestAllAddressesAreWarnedOf(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]int{":0": 1, "0": 0} {
		var log testkit.Log
		s, err := Listen(Options{Listen: listen}, Handlers{Metrics: http.NotFoundHandler()}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := log.Count("level=WARN msg=\"http: all addresses are served, without TLS and authentication\""); got != want {
			t.Errorf("%s: %s", listen, log.String())
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{Listen: "0"}, Handlers{}, nil)
	_, err := Listen(Options{Listen: addr}, Handlers{Metrics: http.NotFoundHandler()}, nil)
	if err == nil || strings.Count(err.Error(), addr) != 1 {
		t.Errorf("%v", err)
	}
}

// certificate writes a certificate for 127.0.0.1 and its key, and returns its pool.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		text := pem.EncodeToMemory(b)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(text)
	}
	return pool
}

func TestTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "web.yml")
	text := fmt.Sprintf("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: %s\n", hash)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log testkit.Log
	addr, _ := start(t, Options{Listen: "0", Config: config}, Handlers{}, slog.New(slog.NewTextHandler(&log, nil)))
	c := client(t, &tls.Config{RootCAs: pool})
	for _, p := range []struct {
		auth   string
		status int
	}{{"", 401}, {"prometheus:wrong@", 401}, {"nobody:secret@", 401}, {"prometheus:secret@", 200}} {
		for _, path := range []string{"/metrics", "/healthz", "/"} {
			want := p.status
			if want == 200 && path == "/" {
				want = 404
			}
			if s, _ := get(t, c, "GET", "https://"+p.auth+addr+path); s != want {
				t.Errorf("%q %s: %d, want %d", p.auth, path, s, want)
			}
		}
	}
	if s, _ := get(t, client(t, nil), "GET", "http://"+addr+"/metrics"); s != 400 {
		t.Errorf("without TLS: %d", s)
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("%s", log.String())
	}
}

// A request that is under way is answered when the server ends.
func TestGracefulEnd(t *testing.T) {
	t.Parallel()
	began, proceed := make(chan struct{}), make(chan struct{})
	addr, end := start(t, Options{Listen: "0"}, Handlers{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-proceed
		fmt.Fprintln(w, "whole")
	})}, nil)
	answer := make(chan string)
	c := client(t, nil)
	go func() {
		_, body := get(t, c, "GET", "http://"+addr+"/metrics")
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

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, Options{Listen: "0"}, Handlers{}, nil)
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
	addr, _ := start(t, Options{Listen: "0"}, Handlers{}, nil)
	var held []net.Conn
	for range maxConns + 10 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	if s, _ := get(t, client(t, nil), "GET", "http://"+addr+"/healthz"); s != 200 {
		t.Errorf("status %d", s)
	}
	_ = held[0].SetReadDeadline(time.Now().Add(testkit.Patience))
	if _, err := held[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest connection is open: %v", err)
	}
}
