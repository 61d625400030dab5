package guard

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

func handler(g *Guard) http.Handler {
	return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "secret") }))
}

func TestHosts(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	var log testkit.Log
	g := New(Options{Names: []string{"Monitor.example.org", "other.example.org:8080", "dot.example.org."}, Flag: "--http-host", Log: slog.New(slog.NewTextHandler(&log, nil))})
	for host, want := range map[string]int{
		"": 200, "127.0.0.1": 200, "127.0.0.1:8080": 200, "192.0.2.1:80": 200, "[::1]:8080": 200, "[2001:db8::1]": 200, "[fe80::1%25eth0]:80": 200,
		"localhost": 200, "LOCALHOST.:8080": 200, own: 200, strings.ToUpper(own) + ":1": 200, "monitor.example.org": 200, "monitor.EXAMPLE.org.:80": 200,
		"other.example.org": 200, "dot.example.org": 200,
		"evil.example": 421, "evil.example:8080": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "example.org": 421, "x.monitor.example.org": 421,
		own + ".evil.example": 421, "[evil.example]": 421, "2130706433": 421, "0x7f.1": 421, "foo.localhost": 421, "localhost:80:80": 421,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		handler(g).ServeHTTP(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "secret") != (want == 200) {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
		if want == 421 && !strings.Contains(w.Body.String(), "start it with --http-host ") {
			t.Errorf("%q: %s", host, w.Body)
		}
	}
	if n := log.Count(`allow="--http-host evil.example"`); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	for i := range 1000 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = fmt.Sprintf("h%d.%s", i, strings.Repeat("x", 500))
		handler(g).ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := log.Count("\n"); n != maxRefused || len(log.String()) > maxRefused*1000 || len(g.refused) != maxRefused {
		t.Errorf("%d lines, %d bytes", n, len(log.String()))
	}
	quiet := New(Options{})
	r := httptest.NewRequest("GET", "http://evil.example/", nil)
	w := httptest.NewRecorder()
	if handler(quiet).ServeHTTP(w, r); w.Code != 421 || !strings.Contains(w.Body.String(), "evil.example") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// No browser uses unix sockets.
	r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "s", Net: "unix"})))
	w = httptest.NewRecorder()
	if handler(quiet).ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestFullName(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil || strings.Contains(own, ".") {
		t.Skipf("this host is called %q", own)
	}
	full, err := net.DefaultResolver.LookupCNAME(t.Context(), own)
	full = normal(full)
	if err != nil || !strings.HasPrefix(full, normal(own)+".") {
		t.Skipf("%s has no full name: %q, %v", own, full, err)
	}
	g := New(Options{})
	if !g.Allowed(full+":8080") || !g.Allowed(strings.ToUpper(full)) {
		t.Errorf("%s is refused", full)
	}
}

func TestSites(t *testing.T) {
	t.Parallel()
	g := New(Options{})
	for _, tt := range []struct {
		site, mode, dest, origin string
		want                     int
	}{
		{"", "", "", "", 200},
		{"none", "navigate", "document", "", 200},
		{"same-origin", "cors", "empty", "", 200},
		{"same-origin", "cors", "empty", "http://127.0.0.1:80", 200},
		{"cross-site", "navigate", "document", "", 200}, // a link
		{"cross-site", "navigate", "iframe", "", 403},
		{"cross-site", "navigate", "object", "", 403},
		{"cross-site", "cors", "empty", "", 403},
		{"cross-site", "no-cors", "image", "", 403},
		{"cross-site", "no-cors", "script", "", 403},
		{"cross-site", "no-cors", "empty", "", 403},
		{"same-site", "cors", "empty", "", 403}, // another port of this host
		{"same-site", "navigate", "document", "", 200},
		{"new-value", "cors", "empty", "", 403},
		{"", "", "", "http://evil.example", 403}, // by plain HTTP
		{"", "", "", "http://127.0.0.1:81", 403},
		{"", "", "", "null", 403},
		{"", "", "", "http://127.0.0.1:80", 200},
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:80/", nil)
		for k, v := range map[string]string{"Sec-Fetch-Site": tt.site, "Sec-Fetch-Mode": tt.mode, "Sec-Fetch-Dest": tt.dest, "Origin": tt.origin} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		w := httptest.NewRecorder()
		handler(g).ServeHTTP(w, r)
		if w.Code != tt.want || strings.Contains(w.Body.String(), "secret") != (tt.want == 200) {
			t.Errorf("%+v: %d %s", tt, w.Code, w.Body)
		}
		if got := w.Header().Get("Cross-Origin-Opener-Policy"); (got == "same-origin") != (tt.site != "") {
			t.Errorf("%+v: Cross-Origin-Opener-Policy %q", tt, got)
		}
	}
}

func TestHeadersAndMethods(t *testing.T) {
	t.Parallel()
	g := New(Options{})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"} {
		w := httptest.NewRecorder()
		handler(g).ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1/", nil))
		if want := map[bool]int{true: 200, false: 405}[method == "GET" || method == "HEAD"]; w.Code != want {
			t.Errorf("%s: %d", method, w.Code)
		}
		if w.Code == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Error(w.Header())
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if got := w.Header().Get(name); got != want && !(name == "Cache-Control" && w.Code != 200) {
				t.Errorf("%s: %s: %q", method, name, got)
			}
		}
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", method, name)
			}
		}
	}
}
