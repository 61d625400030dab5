package httpstats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// simulated runs a test in simulated time over HTTP/1 and HTTP/2.
func simulated(t *testing.T, f func(t *testing.T, two bool)) {
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprint("http2=", two), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(t, two) })
		})
	}
}

func TestIdleRequestEnds(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T, two bool) {
		records := make(chan *Record, 2)
		s := New(Options{IdleLimit: 30 * time.Second, Log: []func(*Record){func(r *Record) { records <- r }}})
		client := servePipes(t, s, two, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/silent":
				<-r.Context().Done()
			case "/stalled":
				time.Sleep(20 * time.Second)
				io.WriteString(w, "hello")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			default:
				return
			}
			if cause := context.Cause(r.Context()); cause != ErrIdle {
				t.Errorf("cause %v", cause)
			}
			// The buffers of the server may still accept bytes.
			if _, err := w.Write(make([]byte, 100_000)); err == nil {
				t.Error("written after the end")
			}
		})
		for path, after := range map[string]time.Duration{"/silent": 30 * time.Second, "/stalled": 50 * time.Second} {
			began := time.Now()
			// Not GET, since a client repeats it on another connection.
			resp, err := client.Post("http://x"+path, "", nil)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Errorf("%s: a whole answer", path)
			}
			if took := time.Since(began); took != after {
				t.Errorf("%s: ended after %v", path, took)
			}
			if r := <-records; r.Duration != after {
				t.Errorf("%s: %+v", path, r)
			}
			// The next request is not affected.
			if status, _, err := body(t, client, "http://x/"); status != 200 || err != nil {
				t.Errorf("after %s: %d, %v", path, status, err)
			}
			<-records
		}
		expect(t, s, map[string]float64{"total_request_count": 4, "current_request_count": 0})
	})
}

// Another stream of the same connection is not affected.
func TestIdleStreamOfHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{IdleLimit: 30 * time.Second})
		client := servePipes(t, s, true, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/silent" {
				<-r.Context().Done()
				return
			}
			for range 10 {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(29 * time.Second)
			}
		})
		silent := make(chan error)
		go func() {
			_, _, err := body(t, client, "http://x/silent")
			silent <- err
		}()
		if _, n, err := body(t, client, "http://x/busy"); n != 10 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := <-silent; err == nil {
			t.Error("an answer")
		}
		expect(t, s, map[string]float64{"total_request_count": 2, "resp_2xx": 1, "resp_5xx": 0})
	})
}

func TestSlowClientIsNotIdle(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T, two bool) {
		const size = 40 * piece
		s := New(Options{IdleLimit: 30 * time.Second})
		client := servePipes(t, s, two, func(w http.ResponseWriter, r *http.Request) {
			if n, err := w.Write(make([]byte, size)); n != size || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
		resp, err := client.Get("http://x/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		total := 0
		for {
			b := make([]byte, piece/2)
			n, err := io.ReadFull(resp.Body, b)
			if total += n; err != nil {
				break
			}
			time.Sleep(5 * time.Second)
		}
		if total != size {
			t.Errorf("%d bytes", total)
		}
	})
}

func TestStalledClientIsIdle(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T, two bool) {
		s := New(Options{IdleLimit: 30 * time.Second})
		failed := make(chan error, 1)
		client := servePipes(t, s, two, func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(make([]byte, 100<<20)) // it checks nothing else
			failed <- err
		})
		resp, err := client.Get("http://x/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began := time.Now()
		if err := <-failed; err == nil {
			t.Error("all was written")
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("ended after %v", took)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the client has a response that seems complete")
		}
	})
}

// The limit also ends a request whose body does not arrive.
func TestStalledUploadIsIdle(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T, two bool) {
		s := New(Options{IdleLimit: 30 * time.Second})
		failed := make(chan error, 1)
		client := servePipes(t, s, two, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			failed <- err
		})
		r, w := io.Pipe()
		began := time.Now()
		answered := make(chan error)
		go func() {
			resp, err := client.Post("http://x/", "", r)
			if err == nil {
				resp.Body.Close()
			}
			answered <- err
		}()
		if err := <-failed; err == nil || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		w.CloseWithError(io.ErrUnexpectedEOF) // the client also waits for its own body
		if err := <-answered; err == nil {
			t.Error("an answer")
		}
	})
}

func TestHijackedIsNotIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{IdleLimit: 30 * time.Second})
		client := servePipes(t, s, false, func(w http.ResponseWriter, r *http.Request) {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			time.Sleep(time.Minute)
			if err := r.Context().Err(); err != nil {
				t.Error(err)
			}
			buf.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if err := buf.Flush(); err != nil {
				t.Error(err)
			}
		})
		if status, n, err := body(t, client, "http://x/"); status != 200 || n != 2 || err != nil {
			t.Errorf("%d, %d bytes, %v", status, n, err)
		}
	})
}

// A ResponseWriter without deadlines, and a handler that returns when the limit is
// reached.
func TestIdleWithoutDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{IdleLimit: time.Second})
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("recovered %v", p)
				}
			}()
			do(s, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}()
		var ctx context.Context
		do(s, func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })
		if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("context after the request: %v", err)
		}
		time.Sleep(time.Minute) // no timer remains that could use the writer
		r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
		s.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		expect(t, s, map[string]float64{"total_request_count": 3, "current_request_count": 0, "resp_4xx": 1})
	})
}
