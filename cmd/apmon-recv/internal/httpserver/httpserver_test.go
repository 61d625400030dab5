package httpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
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
	if err := (Options{Listen: "host"}).Check(); err == nil || !strings.Contains(err.Error(), `http "host": use [HOST:]PORT`) {
		t.Errorf("%v", err)
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
	return testkit.Serve(t, s)
}

func get(t *testing.T, c *http.Client, method, url string) (status int, body string) {
	t.Helper()
	resp, body := testkit.HTTP(t, c, method, url)
	if resp.StatusCode != 200 && resp.StatusCode != 400 && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s: type %q", url, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, body
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
	c := testkit.Client(t, nil)
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
	c := testkit.Client(t, &tls.Config{RootCAs: pool})
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
	for file, want := range map[string]string{"web.yml": "https://", "users.yml": "http://"} {
		if file != "web.yml" {
			if err := os.WriteFile(filepath.Join(dir, file), fmt.Appendf(nil, "basic_auth_users:\n  prometheus: %s\n", hash), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Listen(Options{Listen: "0", Config: filepath.Join(dir, file)}, Handlers{Metrics: http.NotFoundHandler()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.URL(), want) {
			t.Errorf("%s: %s, want %s", file, s.URL(), want)
		}
		_ = s.Close()
	}
	if s, _ := get(t, testkit.Client(t, nil), "GET", "http://"+addr+"/metrics"); s != 400 {
		t.Errorf("without TLS: %d", s)
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("%s", log.String())
	}
	users := filepath.Join(dir, "users.yml")
	if err := os.WriteFile(users, fmt.Appendf(nil, "basic_auth_users:\n  prometheus: %s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, scheme := range map[string]string{config: "https://127.0.0.1:", users: "http://127.0.0.1:", "": "http://127.0.0.1:"} {
		s, err := Listen(Options{Listen: "0", Config: file}, Handlers{Metrics: http.NotFoundHandler()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.URL(), scheme) {
			t.Errorf("%q: %s, want %s", file, s.URL(), scheme)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
