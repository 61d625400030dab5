package page

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/apmon-go/apmon/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get requests an address, with headers "name", "value", ….
func get(h http.Handler, method, address string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func gunzip(t *testing.T, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestRender(t *testing.T) {
	t.Parallel()
	s := New(Options{Program: "apmon-test", Host: hostile, Nav: []Link{{"/", "Overview"}, {"/nodes", "Nodes"}}, Search: "/search", SearchHint: "names"})
	defer s.Close()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, Page{Title: hostile, Query: hostile, Main: "<h1>x</h1>", Path: "/nodes", Status: 404})
	})
	w := get(h, "GET", "/node?x=1")
	text := w.Body.String()
	if w.Code != 404 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Content-Length") != fmt.Sprint(len(text)) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if strings.Contains(text, "<script>alert") || strings.Count(text, "&lt;script&gt;alert(1)") != 4 { // title twice, header, search field
		t.Errorf("%s", text)
	}
	for _, want := range []string{"<main id=\"main\" tabindex=\"-1\">\n<h1>x</h1>\n</main>", `<a href="/nodes" aria-current="page">Nodes</a>`, `<a href="/">Overview</a>`, "as of <time"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if regexp.MustCompile(`\sstyle=|\son\w+=|<style|data-live|https?:`).MatchString(text) {
		t.Error(text)
	}
	if w := get(h, "HEAD", "/"); w.Body.Len() != 0 || w.Header().Get("Content-Length") != fmt.Sprint(len(text)) {
		t.Errorf("HEAD: %d bytes, %v", w.Body.Len(), w.Header())
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("a line of the answer\n", 1000)
	for _, tt := range []struct {
		accept string
		data   string
		want   bool
	}{
		{"", large, false}, {"gzip", large, true}, {"br, GZIP ; q=0.5", large, true}, {"deflate, gzip;q=0", large, false}, {"gzip;q=x", large, false},
		{"identity", large, false}, {"gzip, deflate, br, zstd", large, true}, {"gzip", "small", false},
	} {
		w := get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Write(w, r, "text/csv", []byte(tt.data)) }), "GET", "/", "Accept-Encoding", tt.accept)
		text := w.Body.String()
		if compressed := w.Header().Get("Content-Encoding") == "gzip"; compressed != tt.want {
			t.Errorf("%q: %v", tt.accept, w.Header())
		} else if compressed {
			text = gunzip(t, w.Body.Bytes())
		}
		if text != tt.data || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) || w.Header().Get("Vary") != "Accept-Encoding" || w.Header().Get("Content-Type") != "text/csv" {
			t.Errorf("%q: %v, %d bytes", tt.accept, w.Header(), w.Body.Len())
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	w := get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		JSON(w, r, map[string]any{"a": "</script>", "n": 1.1787352530480775})
	}), "GET", "/")
	if got := w.Body.String(); w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || got != "{\"a\":\"\\u003c/script\\u003e\",\"n\":1.1787352530480775}\n" {
		t.Errorf("%d %v %s", w.Code, w.Header(), got)
	}
	w = get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		JSONError(w, r, 404, map[string]string{"error": `no node "x"`})
	}), "GET", "/")
	if got := w.Body.String(); w.Code != 404 || got != `{"error":"no node \"x\""}`+"\n" {
		t.Errorf("%d %s", w.Code, got)
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	defer s.Close()
	text := get(s.Live(func(*http.Request) Page { return Page{} }), "GET", "/").Body.String()
	paths := regexp.MustCompile(`"(/static/[a-z]+\.[0-9a-f]{12}\.(css|js|svg))"`).FindAllStringSubmatch(text, -1)
	if len(paths) != 3 {
		t.Fatalf("%q in %s", paths, text)
	}
	for _, p := range paths {
		w := get(s, "GET", p[1], "Accept-Encoding", "gzip")
		if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %d %v", p[1], w.Code, w.Header())
		}
		switch p[2] {
		case "css":
			if got := gunzip(t, w.Body.Bytes()); got != Style() || w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
				t.Errorf("%v", w.Header())
			}
		case "js":
			if w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
				t.Errorf("%v", w.Header())
			}
		}
	}
	for _, path := range []string{"/static/", "/static/style.css", "/static/style.000000000000.css", "/static/../page.go"} {
		if w := get(s, "GET", path); w.Code != 404 || w.Header().Get("Cache-Control") != "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	// One browser loads these once: they stay small.
	total := 0
	for _, f := range statics().byPath {
		if c := f.body.compressed(); c != nil {
			total += len(c)
		}
	}
	if total > 16<<10 {
		t.Errorf("style sheet and script have %d bytes compressed", total)
	}
}

// TestShared: requests for one address within an interval share a rendering.
func TestShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Every: time.Second})
		defer s.Close()
		var renders atomic.Int64
		h := s.Live(func(r *http.Request) Page {
			time.Sleep(10 * time.Millisecond)
			return Page{Main: template.HTML(fmt.Sprintf("<h1>%s %d</h1>", r.URL.RawQuery, renders.Add(1)))}
		})
		all := func(want int64, addresses ...string) {
			t.Helper()
			renders.Store(0)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					a := addresses[i%len(addresses)]
					if w := get(h, "GET", a); w.Code != 200 || !strings.Contains(w.Body.String(), "<h1>"+strings.TrimPrefix(a, "/?")) {
						t.Errorf("%s: %d", a, w.Code)
					}
				})
			}
			wg.Wait()
			if n := renders.Load(); n != want {
				t.Errorf("%d renderings, want %d", n, want)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // the start of an interval
		all(1, "/?a")
		all(0, "/?a")
		time.Sleep(time.Second)
		all(3, "/?a", "/?b", "/?c")
		time.Sleep(time.Minute)
		etag := get(h, "GET", "/?a").Header().Get("ETag")
		if w := get(h, "GET", "/?a", "If-None-Match", etag); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("%d", w.Code)
		}
		time.Sleep(time.Second)
		if w := get(h, "GET", "/?a", "If-None-Match", etag); w.Code != 200 || w.Header().Get("ETag") == etag {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
}

// TestSlowPages: pages that take long are rendered less often, and a page whose rendering
// panics is rendered again.
func TestSlowPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Every: time.Second})
		defer s.Close()
		var renders atomic.Int64
		h := s.Live(func(r *http.Request) Page {
			renders.Add(1)
			time.Sleep(200 * time.Millisecond)
			if r.URL.RawQuery == "panic" {
				panic("oops")
			}
			return Page{}
		})
		start := time.Now()
		for time.Since(start) < 100*time.Second {
			for i := range 5 {
				get(h, "GET", fmt.Sprint("/?", i))
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 200 ms each, 5 s of 100 s: 25 times, and some at the start, when there were fewer pages.
		if n := renders.Load(); n < 20 || n > 35 {
			t.Errorf("%d renderings", n)
		}
		renders.Store(0)
		for range 3 {
			func() {
				defer func() { _ = recover() }()
				get(h, "GET", "/?panic")
				t.Error("no panic")
			}()
			time.Sleep(maxAge)
		}
		if n := renders.Load(); n != 3 {
			t.Errorf("%d renderings", n)
		}
		// Many addresses do not fill the memory.
		for i := range 1000 {
			get(h, "GET", fmt.Sprint("/?many", i))
		}
		if len(s.rendered) > maxRendered {
			t.Errorf("%d pages are kept", len(s.rendered))
		}
	})
}

// streams serves a site with the limits of a real server.
func streams(t *testing.T, every time.Duration) (*Site, *httptest.Server) {
	t.Helper()
	s := New(Options{Every: every})
	server := httptest.NewUnstartedServer(s)
	server.Config.WriteTimeout = 50 * time.Millisecond
	server.Start()
	t.Cleanup(func() { s.Close(); server.Close() })
	return s, server
}

// events reads a stream until n events were received.
func events(t testing.TB, client *http.Client, url string, n int) {
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
		return
	}
	lines := bufio.NewScanner(resp.Body)
	for got := 0; got < n; {
		if !lines.Scan() {
			t.Errorf("the stream ended after %d events: %v", got, lines.Err())
			return
		}
		if strings.HasPrefix(lines.Text(), "data: ") {
			got++
		}
	}
}

// TestStreams: streams outlive the write timeout of the server, and a client that never reads
// does not hold up the others, nor the end of the server.
func TestStreams(t *testing.T) {
	t.Parallel()
	s, server := streams(t, 10*time.Millisecond)
	idle, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	fmt.Fprintf(idle, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", LivePath)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { events(t, server.Client(), server.URL+LivePath, 30) })
	}
	wg.Wait()
	open := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.streams }
	testkit.Eventually(t, "the clients that left", func() bool { return open() == 1 })
	ended := make(chan error)
	go func() {
		resp, err := server.Client().Get(server.URL + LivePath)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		ended <- err
	}()
	testkit.Eventually(t, "a stream", func() bool { return open() == 2 })
	s.Close()
	s.Close()
	if err := <-ended; err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	testkit.Eventually(t, "no stream", func() bool { return open() == 0 })
}

// fullConn is a connection whose buffers are full at once.
type fullConn struct {
	http.ResponseWriter
	deadline time.Time
}

func (c *fullConn) SetWriteDeadline(d time.Time) error { c.deadline = d; return nil }
func (c *fullConn) FlushError() error {
	time.Sleep(time.Until(c.deadline))
	return io.ErrClosedPipe
}

// TestStreamNeverRead: a client that does not read is left after a time.
func TestStreamNeverRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		defer s.Close()
		start := time.Now()
		s.ServeHTTP(&fullConn{ResponseWriter: httptest.NewRecorder()}, httptest.NewRequest("GET", LivePath, nil))
		if d := time.Since(start); d != streamTimeout || s.streams != 0 {
			t.Errorf("%v, %d streams", d, s.streams)
		}
	})
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	defer s.Close()
	s.streams = maxStreams
	if w := get(s, "GET", LivePath); w.Code != 503 || s.streams != maxStreams {
		t.Errorf("%d, %d streams", w.Code, s.streams)
	}
	s.streams = 0
	if w := get(s, "HEAD", LivePath); w.Code != 200 || w.Body.Len() > 0 || s.streams != 0 {
		t.Errorf("%d, %d streams", w.Code, s.streams)
	}
}
