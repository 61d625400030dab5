package httpstats

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// body reads a response to its end or to an error.
func body(t testing.TB, c *http.Client, url string) (status int, n int, err error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, len(b), err
}

// Each request is counted once, with the given status.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		h      http.HandlerFunc
		class  int // 0 for none
		bytes  float64
		broken bool // for the client
	}{
		{"nothing done", func(http.ResponseWriter, *http.Request) {}, 2, 0, false},
		{"only written", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 2, 5, false},
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.Write([]byte("no")) }, 4, 2, false},
		{"second status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(500) }, 4, 0, false},
		{"status after a write", func(w http.ResponseWriter, _ *http.Request) { w.Write(nil); w.WriteHeader(500) }, 2, 0, false},
		{"status after a flush", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, 2, 0, false},
		{"status after reading from nothing", func(w http.ResponseWriter, _ *http.Request) {
			w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
			w.WriteHeader(404)
		}, 4, 0, false},
		{"status after reading from something", func(w http.ResponseWriter, _ *http.Request) {
			w.(io.ReaderFrom).ReadFrom(strings.NewReader("x"))
			w.WriteHeader(500)
		}, 2, 1, false},
		{"informational", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(302)
		}, 3, 0, false},
		{"no body allowed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304); w.Write([]byte("x")) }, 3, 0, false},
		{"panic", func(http.ResponseWriter, *http.Request) { panic("oh") }, 5, 0, true},
		{"panic after the status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(203)
			io.WriteString(w, "hello")
			panic("oh")
		}, 2, 5, true},
		{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 5, 0, true},
		{"goexit", func(http.ResponseWriter, *http.Request) { runtime.Goexit() }, 5, 0, true},
		{"invalid status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(99) }, 5, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := New(Options{})
			server := serve(t, s, c.h)
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			status, _, err := body(t, client, server.URL)
			if (err != nil) != c.broken {
				t.Errorf("client: %v", err)
			}
			if err == nil && status/100 != c.class {
				t.Errorf("client saw %d", status)
			}
			want := map[string]float64{"current_request_count": 0, "total_request_count": 1, "total_bytes_sent": c.bytes, "localhost_requests": 1}
			for class := 2; class <= 5; class++ {
				want[fmt.Sprintf("resp_%dxx", class)] = 0
			}
			want[fmt.Sprintf("resp_%dxx", c.class)] = 1
			eventually(t, s, want)
		})
	}
}

// The server gets the original panic.
func TestPanicIsPassedOn(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
		expect(t, s, map[string]float64{"resp_5xx": 1, "current_request_count": 0})
	}()
	do(s, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

func TestClientDisconnects(t *testing.T) {
	t.Parallel()
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprint("http2=", two), func(t *testing.T) {
			t.Parallel()
			records := make(chan *Record, 2)
			s := New(Options{Log: []func(*Record){func(r *Record) { records <- r }}})
			server := httptest.NewUnstartedServer(s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					io.WriteString(w, "first")
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
				if r.URL.Path == "/stream" {
					for range 3 { // fails, or is discarded
						io.WriteString(w, "x")
						w.(http.Flusher).Flush()
					}
				}
			})))
			server.Config.ErrorLog = quiet
			server.EnableHTTP2 = two
			server.StartTLS()
			t.Cleanup(server.Close)

			resp, err := server.Client().Get(server.URL + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			if resp.ProtoMajor == 2 != two {
				t.Fatalf("protocol %s", resp.Proto)
			}
			expect(t, s, map[string]float64{"current_request_count": 1, "total_bytes_sent": 5, "resp_2xx": 0})
			resp.Body.Close()
			if r := <-records; r.Status != 200 || r.Bytes < 5 || r.Protocol != resp.Proto {
				t.Errorf("%+v", r)
			}
			expect(t, s, map[string]float64{"current_request_count": 0, "total_request_count": 1, "resp_2xx": 1})

			// The client disconnected before a response: there is no status.
			req, _ := http.NewRequest("GET", server.URL+"/silent", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				eventually(t, s, map[string]float64{"current_request_count": 1})
				cancel()
			}()
			if _, err := server.Client().Do(req.WithContext(ctx)); err == nil {
				t.Error("an answer")
			}
			if r := <-records; r.Status != 0 || r.Bytes != 0 {
				t.Errorf("%+v", r)
			}
			expect(t, s, map[string]float64{"current_request_count": 0, "total_request_count": 2, "resp_2xx": 1, "resp_5xx": 0})
		})
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	server := httptest.NewUnstartedServer(s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Pusher); !ok {
			t.Error("no pusher")
		}
		if err := w.(http.Pusher).Push("/x", nil); err == nil {
			t.Error("pushed to a client that disabled it")
		}
		w.Write(make([]byte, 200_000))
	})))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	for range 5 {
		if status, n, err := body(t, server.Client(), server.URL); status != 200 || n != 200_000 || err != nil {
			t.Errorf("%d, %d bytes, %v", status, n, err)
		}
	}
	eventually(t, s, map[string]float64{"current_request_count": 0, "total_request_count": 5, "total_bytes_sent": 1_000_000, "resp_2xx": 5})
}

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	more := make(chan bool)
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; <-more; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	go func() { more <- true }()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("data: ", i) || !lines.Scan() {
			t.Fatalf("event %d: %q, %v", i, lines.Text(), lines.Err())
		}
		expect(t, s, map[string]float64{"total_bytes_sent": float64(9 * (i + 1)), "current_request_count": 1})
		more <- i < 4
	}
	if lines.Scan() {
		t.Errorf("more: %q", lines.Text())
	}
	eventually(t, s, map[string]float64{"current_request_count": 0, "resp_2xx": 1, "total_request_count": 1})
}

func TestRangeRequests(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 1)
	s := New(Options{Log: []func(*Record){func(r *Record) { records <- r }}})
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	for _, c := range []struct {
		method, span      string
		status            int
		bytes             int64
		size, first, last int64
	}{
		{"GET", "", 200, 200_000, 200_000, -1, -1},
		{"HEAD", "", 200, 0, 200_000, -1, -1},
		{"GET", "bytes=50000-149999", 206, 100_000, 200_000, 50_000, 149_999},
		{"GET", "bytes=-10", 206, 10, 200_000, 199_990, 199_999},
		{"GET", "bytes=300000-", 416, -1, -1, -1, -1},
		{"GET", "bytes=0-9,100-109", 206, -1, -1, -1, -1}, // more than one
	} {
		req, _ := http.NewRequest(c.method, server.URL+"/data", nil)
		if c.span != "" {
			req.Header.Set("Range", c.span)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %d, %v", c.span, resp.StatusCode, err)
		}
		if c.first >= 0 && !bytes.Equal(got, data[c.first:c.last+1]) {
			t.Errorf("%s: other bytes", c.span)
		}
		r := <-records
		if c.bytes < 0 {
			c.bytes = int64(len(got))
		}
		if r.Bytes != c.bytes || r.Status != c.status || r.Size != c.size || r.First != c.first || r.Last != c.last {
			t.Errorf("%s: %+v", c.span, r)
		}
	}
	expect(t, s, map[string]float64{"total_request_count": 6, "resp_2xx": 5, "resp_4xx": 1, "mean_read_ratio": (1 + 0.5 + 10.0/200_000) / 3})
}

func TestHijack(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 1)
	s := New(Options{Log: []func(*Record){func(r *Record) { records <- r }}})
	end := make(chan struct{})
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
		var conn net.Conn
		var buf *bufio.ReadWriter
		var err error
		if r.URL.Path == "/controller" {
			conn, buf, err = http.NewResponseController(w).Hijack()
		} else {
			conn, buf, err = w.(http.Hijacker).Hijack()
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("a %T", conn)
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("write: %v", err)
		}
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
		buf.Flush()
		<-end
	})
	for i, path := range []string{"/type", "/controller"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		line, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
		if line != "HTTP/1.1 101 Switching Protocols" {
			t.Errorf("%q, %v", line, err)
		}
		// In progress until the handler returns.
		expect(t, s, map[string]float64{"current_request_count": 1, "total_request_count": float64(i + 1)})
		end <- struct{}{}
		if r := <-records; r.Status != 0 || r.Bytes != 0 {
			t.Errorf("%+v", r)
		}
		expect(t, s, map[string]float64{"current_request_count": 0, "resp_2xx": 0, "resp_5xx": 0, "total_bytes_sent": 0})
	}
}

// abilities returns the optional interfaces of a ResponseWriter.
func abilities(w http.ResponseWriter) string {
	var s string
	if _, ok := w.(http.Flusher); ok {
		s += "F"
	}
	if _, ok := w.(http.Hijacker); ok {
		s += "H"
	}
	if _, ok := w.(io.ReaderFrom); ok {
		s += "R"
	}
	if _, ok := w.(http.Pusher); ok {
		s += "P"
	}
	return s
}

type (
	canF struct{ calls *string }
	canH struct{ calls *string }
	canR struct{ calls *string }
	canP struct{ calls *string }
)

func (c canF) Flush() { *c.calls += "F" }
func (c canH) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	*c.calls += "H"
	return nil, nil, http.ErrNotSupported
}
func (c canR) ReadFrom(src io.Reader) (int64, error) {
	*c.calls += "R"
	return io.Copy(io.Discard, src)
}
func (c canP) Push(string, *http.PushOptions) error { *c.calls += "P"; return nil }

func TestKeepsOptionalInterfaces(t *testing.T) {
	t.Parallel()
	var calls string
	type rw = http.ResponseWriter
	// As an interface value the recorder has only the three methods.
	w, f, h, r, p := rw(httptest.NewRecorder()), canF{&calls}, canH{&calls}, canR{&calls}, canP{&calls}
	for _, original := range []rw{
		struct{ rw }{w},
		struct {
			rw
			canF
		}{w, f},
		struct {
			rw
			canH
		}{w, h},
		struct {
			rw
			canR
		}{w, r},
		struct {
			rw
			canP
		}{w, p},
		struct {
			rw
			canF
			canH
		}{w, f, h},
		struct {
			rw
			canF
			canR
		}{w, f, r},
		struct {
			rw
			canF
			canP
		}{w, f, p},
		struct {
			rw
			canH
			canR
		}{w, h, r},
		struct {
			rw
			canH
			canP
		}{w, h, p},
		struct {
			rw
			canR
			canP
		}{w, r, p},
		struct {
			rw
			canF
			canH
			canR
		}{w, f, h, r},
		struct {
			rw
			canF
			canH
			canP
		}{w, f, h, p},
		struct {
			rw
			canF
			canR
			canP
		}{w, f, r, p},
		struct {
			rw
			canH
			canR
			canP
		}{w, h, r, p},
		struct {
			rw
			canF
			canH
			canR
			canP
		}{w, f, h, r, p},
	} {
		calls = ""
		want := abilities(original)
		s := New(Options{})
		s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if got := abilities(w); got != want {
				t.Errorf("offers %q, the original %q", got, want)
			}
			if u := w.(interface{ Unwrap() http.ResponseWriter }).Unwrap(); u != original {
				t.Errorf("unwraps to %T", u)
			}
			if w, ok := w.(http.Flusher); ok {
				w.Flush()
			}
			if w, ok := w.(http.Hijacker); ok {
				w.Hijack()
			}
			if w, ok := w.(io.ReaderFrom); ok {
				w.ReadFrom(strings.NewReader("abc"))
			}
			if w, ok := w.(http.Pusher); ok {
				w.Push("", nil)
			}
		})).ServeHTTP(original, httptest.NewRequest("GET", "/", nil))
		if calls != want {
			t.Errorf("called %q of %q", calls, want)
		}
		sent := 0.0
		if strings.Contains(want, "R") {
			sent = 3
		}
		expect(t, s, map[string]float64{"total_request_count": 1, "resp_2xx": 1, "total_bytes_sent": sent})
	}
}

// The optional methods of a ResponseWriter, and those of ResponseController, are the
// same with and without Wrap.
func TestResponseControllerAsBefore(t *testing.T) {
	t.Parallel()
	probe := func(w http.ResponseWriter) string {
		c := http.NewResponseController(w)
		got := abilities(w)
		_, ok := w.(io.StringWriter)
		got += fmt.Sprint(" ", ok)
		later := time.Now().Add(time.Hour)
		got += fmt.Sprint(" read:", c.SetReadDeadline(later), " write:", c.SetWriteDeadline(later), " duplex:", c.EnableFullDuplex(), " flush:", c.Flush())
		conn, _, err := c.Hijack()
		if err == nil {
			fmt.Fprintf(conn, "5\r\nhello\r\n0\r\n\r\n")
			conn.Close()
		}
		return got + fmt.Sprint(" hijack:", err)
	}
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprint("http2=", two), func(t *testing.T) {
			t.Parallel()
			s := New(Options{})
			results := make(chan string, 1)
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { results <- probe(w) })
			mux := http.NewServeMux()
			mux.Handle("/bare", h)
			mux.Handle("/wrapped", s.Wrap(h))
			server := httptest.NewUnstartedServer(mux)
			if server.EnableHTTP2 = two; two {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			body(t, server.Client(), server.URL+"/bare")
			want := <-results
			body(t, server.Client(), server.URL+"/wrapped")
			if got := <-results; got != want {
				t.Errorf("wrapped: %s\nbare:    %s", got, want)
			}
			if !strings.Contains(want, "flush:<nil>") || strings.Contains(want, "hijack:<nil>") == two {
				t.Errorf("bare: %s", want)
			}
		})
	}
}

// An error that only FlushError returns is not lost.
func TestFlushError(t *testing.T) {
	t.Parallel()
	w := flushFails{httptest.NewRecorder()}
	New(Options{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("flush: %v", err)
		}
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
}

type flushFails struct{ *httptest.ResponseRecorder }

func (flushFails) FlushError() error { return io.ErrClosedPipe }

// sources records the readers that are passed to ReadFrom.
type sources struct {
	http.ResponseWriter
	calls []string
}

func (s *sources) ReadFrom(src io.Reader) (int64, error) {
	l, ok := src.(*io.LimitedReader)
	kernel := false
	if ok {
		_, kernel = l.R.(syscall.Conn)
	}
	s.calls = append(s.calls, fmt.Sprint(ok, kernel))
	return io.Copy(io.Discard, src)
}

func TestReadFromLeavesTheFileToTheKernel(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, 3*piece+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		of    func(f *os.File) io.Reader
		calls int
		n     int64
	}{
		{"file", func(f *os.File) io.Reader { return f }, 4, 3*piece + 1},
		{"limited", func(f *os.File) io.Reader { return &io.LimitedReader{R: f, N: piece + 5} }, 2, piece + 5},
		{"limited to pieces", func(f *os.File) io.Reader { return &io.LimitedReader{R: f, N: 2 * piece} }, 2, 2 * piece},
		{"limited beyond the end", func(f *os.File) io.Reader { return &io.LimitedReader{R: f, N: 9 * piece} }, 4, 3*piece + 1},
		{"limited to nothing", func(f *os.File) io.Reader { return &io.LimitedReader{R: f, N: 0} }, 1, 0},
		{"limited to less than nothing", func(f *os.File) io.Reader { return io.LimitReader(f, -1) }, 1, 0},
	} {
		for _, copied := range []bool{false, true} {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s, w := New(Options{}), &sources{ResponseWriter: httptest.NewRecorder()}
			src := c.of(f)
			s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				read := w.(io.ReaderFrom).ReadFrom
				if copied {
					read = func(r io.Reader) (int64, error) { return io.Copy(w, r) }
				}
				if n, err := read(src); n != c.n || err != nil {
					t.Errorf("%s: %d bytes, %v", c.name, n, err)
				}
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if len(w.calls) != c.calls {
				t.Errorf("%s: calls %q", c.name, w.calls)
			}
			for _, call := range w.calls {
				if call != "true true" {
					t.Errorf("%s: calls %q", c.name, w.calls)
				}
			}
			if l, ok := src.(*io.LimitedReader); ok && c.n <= 2*piece && l.N > 0 {
				t.Errorf("%s: %d left", c.name, l.N)
			}
			expect(t, s, map[string]float64{"total_bytes_sent": float64(c.n)})
		}
	}
}

// watched is a listener whose connections record the readers that they send.
type watched struct {
	net.Listener
	sent chan string
}

type watchedConn struct {
	*net.TCPConn
	sent chan string
}

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return watchedConn{c.(*net.TCPConn), l.sent}, nil
}

func (c watchedConn) ReadFrom(src io.Reader) (int64, error) {
	kind := fmt.Sprintf("%T", src)
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(syscall.Conn); ok {
			kind = "limited file"
		}
	}
	n, err := c.TCPConn.ReadFrom(src)
	c.sent <- fmt.Sprint(kind, " ", n)
	return n, err
}

// A client that expects 100 Continue gets it when the handler reads, and does not send its body to
// a handler that refuses. Neither counts as a response of its own.
func TestContinue(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		io.Copy(w, r.Body)
	})
	for path, want := range map[string]string{"/taken": "HTTP/1.1 100 Continue", "/refused": "HTTP/1.1 413 Request Entity Too Large"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", path)
		b := bufio.NewReader(conn)
		if line, err := b.ReadString('\n'); strings.TrimSpace(line) != want {
			t.Errorf("%s: %q, %v", path, line, err)
		}
		if path == "/taken" {
			io.WriteString(conn, "body")
		}
		if rest, err := io.ReadAll(b); err != nil || strings.HasSuffix(string(rest), "body") != (path == "/taken") {
			t.Errorf("%s: %q, %v", path, rest, err)
		}
	}
	eventually(t, s, map[string]float64{"total_request_count": 2, "resp_2xx": 1, "resp_4xx": 1, "total_bytes_sent": 4})
}

// net/http passes a file to the connection as a file, so that the kernel sends it.
func TestFileReachesTheConnection(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), piece/16)
	data = append(append(data, data...), "end"...)
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Options{})
	server := httptest.NewUnstartedServer(s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })))
	sent := make(chan string, 10)
	server.Listener = watched{server.Listener, sent}
	server.Start()
	t.Cleanup(server.Close)
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); !bytes.Equal(got, data) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// net/http reads the start of the first piece to detect the content type.
	for _, want := range []int{piece - 512, piece, 3} {
		if got := <-sent; got != fmt.Sprint("limited file ", want) {
			t.Errorf("connection: %s, want %d", got, want)
		}
	}
	eventually(t, s, map[string]float64{"total_bytes_sent": float64(len(data)), "resp_2xx": 1, "current_request_count": 0})
}

// The sent bytes of a file count while the client has stopped reading.
func TestBytesOfAFileInProgress(t *testing.T) {
	t.Parallel()
	const size = 64 << 20 // more than all buffers
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"file", "reader", "write"} {
		t.Run(how, func(t *testing.T) {
			s := New(Options{})
			server := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				w.Header().Set("Content-Length", fmt.Sprint(size))
				switch how {
				case "file":
					io.Copy(w, f)
				case "reader":
					w.(io.ReaderFrom).ReadFrom(struct{ io.Reader }{f})
				case "write":
					w.Write(make([]byte, size))
				}
			})
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var got float64
			for deadline := time.Now().Add(10 * time.Second); got == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				got = values(t, s)["total_bytes_sent"]
			}
			if got <= 0 || got >= size {
				t.Errorf("%v bytes sent to a client that does not read", got)
			}
			if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			eventually(t, s, map[string]float64{"total_bytes_sent": size, "current_request_count": 0, "resp_2xx": 1, "mean_read_ratio": 1})
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	server := serve(t, s, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	client := server.Client()
	done := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				if _, _, err := body(t, client, server.URL); err != nil {
					done <- err
					return
				}
				values(t, s)
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, s, map[string]float64{"total_request_count": 400, "resp_2xx": 400, "total_bytes_sent": 2000, "current_request_count": 0})
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"127.0.0.1:80":            "local private",
		"127.9.9.9:80":            "local private",
		"[::1]:80":                "local private",
		"[::1%lo]:80":             "local private",
		"[::ffff:127.0.0.1]:80":   "local private",
		"127.0.0.1":               "local private",
		"10.1.2.3:80":             "private",
		"172.16.0.1:80":           "private",
		"172.32.0.1:80":           "",
		"192.168.1.1:80":          "private",
		"169.254.1.1:80":          "private",
		"[::ffff:10.0.0.1]:80":    "private",
		"[fd00::1]:80":            "private",
		"[fe80::1%eth0]:80":       "private",
		"[fe80::1]:80":            "private",
		"[2001:db8::1]:80":        "",
		"192.0.2.1:80":            "",
		"100.64.0.1:80":           "",
		"[::ffff:8.8.8.8]:80":     "",
		"":                        "",
		"@":                       "", // without the context of a server, it is not a unix socket
		"localhost:80":            "",
		"10.0.0.1, 127.0.0.1":     "",
		"127.0.0.1.example.org:1": "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		s := New(Options{})
		s.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		var got []string
		v := values(t, s)
		if v["localhost_requests"] == 1 {
			got = append(got, "local")
		}
		if v["private_requests"] == 1 {
			got = append(got, "private")
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: %q, want %q", remote, got, want)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 1)
	s := New(Options{Log: []func(*Record){func(r *Record) { records <- r }}})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip("no unix sockets: ", err)
	}
	server := &http.Server{Handler: s.Wrap(http.NotFoundHandler())}
	go server.Serve(l)
	defer server.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	io.Copy(io.Discard, conn)
	if r := <-records; r.Client != "unix:" || r.Status != 404 {
		t.Errorf("%+v", r)
	}
	expect(t, s, map[string]float64{"localhost_requests": 1, "private_requests": 1})
}
