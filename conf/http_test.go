package conf

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// noTransport fails every request.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}

func answer(status int, text string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

func itoa(n uintptr) string { return strconv.Itoa(int(n)) }

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// TestFetch: the result of one response.
func TestFetch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // destinations
		err     string // part of the error
	}{
		{name: "good", handler: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a\r\nb:1 p\r\n") }, want: "a:8884 b:1=p"},
		{name: "compressed", want: "a:8884", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "a")
			z.Close()
		}},
		{name: "nothing in it", handler: func(http.ResponseWriter, *http.Request) {}, err: ErrNoDestination.Error()},
		{name: "web page", handler: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>\n") }, err: ErrNoDestination.Error()},
		{name: "304 without a copy", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, err: `status "304 Not Modified"`},
		{name: "404", handler: http.NotFound, err: `status "404 Not Found"`},
		{name: "500 with a body", err: `status "500 Internal`, handler: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, "a")
		}},
		{name: "other success", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(206)
			io.WriteString(w, "a")
		}, err: `status "206 Partial`},
		{name: "redirect loop", handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, err: "stopped after 10 redirects"},
		{name: "redirect to a file", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, err: "unsupported protocol scheme"},
		{name: "shorter than said", err: "unexpected EOF", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "a\n")
		}},
		{name: "cut chunks", err: "EOF", handler: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a\n")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{name: "said to be 10 GB", err: "more than 1048576 bytes", handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10000000000")
			for sent := int64(0); sent < 1e10; sent += 1 << 16 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}},
		{name: "gzip bomb", err: "more than 1048576 bytes", handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 64 << 4 {
				if _, err := z.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
			z.Close()
		}},
		{name: "exactly 1 MiB", want: "a:8884", handler: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat("#\n", maxSize/2-1)+"a\n")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// In simulated time a slow machine does not reach fetchTimeout.
			synctest.Test(t, func(t *testing.T) {
				r := Reader{Source: URL("http://h/x"), Lookup: knownOption, Transport: pipeTransport(t, serveConn(tt.handler))}
				c, _, _, err := r.Read(t.Context())
				if got := destinations(c); got != tt.want {
					t.Errorf("got %s", got)
				}
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
					t.Errorf("error %v, want one with %s", err, tt.err)
				}
				if err != nil && !errors.Is(err, ErrNoDestination) && !strings.HasPrefix(err.Error(), "http://h/x: ") {
					t.Errorf("the error does not name the source: %v", err)
				}
			})
		})
	}
}

// TestConditionalRequests: a validator is sent back with the next request, and the
// same text counts as unchanged.
func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	const date = "Fri, 20 Nov 2026 10:00:00 GMT"
	var step int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
		step++
		wantTag, wantSince := "", ""
		switch step {
		case 2, 3, 4:
			wantTag, wantSince = `"one"`, date
		case 5:
			wantTag, wantSince = `W/"two"`, ""
		}
		if tag != wantTag || since != wantSince {
			t.Errorf("step %d: If-None-Match %s, If-Modified-Since %s", step, tag, since)
		}
		switch step {
		case 1:
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Last-Modified", date)
			io.WriteString(w, "a p\n")
		case 2:
			w.WriteHeader(304)
		case 3:
			w.WriteHeader(500)
		case 4:
			w.Header().Set("ETag", `W/"two"`)
			io.WriteString(w, "a p\n") // the same, under another tag
		case 5:
			w.Header().Set("ETag", strings.Repeat("x", maxValidator+1))
			io.WriteString(w, "b\n")
		case 6:
			io.WriteString(w, "b\n")
		case 7:
			w.WriteHeader(304) // without a conditional request
		}
	})
	r := Reader{Source: URL(s.URL)}
	for i, want := range []string{"a:8884=p true", "a:8884=p false", " false error", "a:8884=p false", "b:8884 true", "b:8884 false", "b:8884 false"} {
		c, _, changed, err := r.Read(t.Context())
		got := fmt.Sprint(destinations(c), " ", changed)
		if err != nil {
			got += " error"
		}
		if got != want {
			t.Errorf("step %d: got %s, want %s (%v)", i+1, got, want, err)
		}
	}
}

// TestValidatorThatCannotBeSent would make every further request fail.
func TestValidatorThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"a\x01b", "a\x7f", "\x00"} {
		r := Reader{Source: URL("http://h/"), Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if got := req.Header.Get("If-None-Match"); got != "" {
				t.Errorf("%q is sent back", got)
			}
			resp := answer(200, "a")
			resp.Header.Set("ETag", tag)
			return resp, nil
		})}
		for range 2 {
			if _, _, _, err := r.Read(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	const query = "app=x&appName=a%20b+c;d&&=&u=%C3%A4&app=y"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/from":
			if user, password, _ := r.BasicAuth(); user != "u" || password != "hunter" {
				t.Errorf("user %q, password %q", user, password)
			}
			http.Redirect(w, r, "/to?"+query, http.StatusMovedPermanently)
		case "/to":
			if r.URL.RawQuery != query || r.Method != http.MethodGet || !strings.HasPrefix(r.Host, "localhost:") {
				t.Errorf("%s %s %s", r.Method, r.Host, r.URL)
			}
			io.WriteString(w, "a")
		}
	})
	u := strings.Replace(s.URL, "127.0.0.1", "u:hunter@localhost", 1)
	for _, u := range []string{u + "/from", u + "/to?" + query} {
		c, _, _, err := (&Reader{Source: URL(u)}).Read(t.Context())
		if err != nil || destinations(c) != "a:8884" || strings.Contains(c.Source, "hunter") {
			t.Errorf("%s, %s, %v", c.Source, destinations(c), err)
		}
	}
}

func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, _, _, err := (&Reader{Source: URL(s.URL)}).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	c, _, _, err := (&Reader{Source: URL(s.URL), Transport: s.Client().Transport}).Read(t.Context())
	if err != nil || destinations(c) != "a:8884" {
		t.Errorf("with a known one: %v", err)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "http://ml.example.org/x?app=y" {
			t.Errorf("the proxy is asked for %s", r.RequestURI)
		}
		io.WriteString(w, "a")
	})
	proxyURL, _ := url.Parse(s.URL)
	r := Reader{Source: URL("http://ml.example.org/x?app=y"), Transport: &http.Transport{Proxy: http.ProxyURL(proxyURL), DisableKeepAlives: true}}
	if c, _, _, err := r.Read(t.Context()); err != nil || destinations(c) != "a:8884" {
		t.Error(err)
	}
}

// TestPasswordOfURLIsNotShown: no error contains it.
func TestPasswordOfURLIsNotShown(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			w.Header().Set("Location", "http://u:hunter@"+r.Host+"/loop")
			w.WriteHeader(302)
		case "/bad":
			w.Header().Set("Location", "http://u:hunter%zz@"+r.Host+"/loop")
			w.WriteHeader(302)
		case "/short":
			w.Header().Set("Content-Length", "9")
		case "/lines":
			io.WriteString(w, "x:y hunter\n")
		default:
			w.WriteHeader(500)
		}
	})
	for _, u := range []string{gone.URL, s.URL + "/loop", s.URL + "/bad", s.URL + "/500", s.URL + "/short", s.URL + "/lines", "https" + s.URL[4:], "ftp" + s.URL[4:],
		"http://127.0.0.1:99999", "http://[::1", "http://"} {
		scheme, rest, _ := strings.Cut(u, "://")
		r := &Reader{Source: URL(scheme + "://u:hunter2@" + rest)}
		loaded := Load(t.Context(), []*Reader{r})[0]
		text := fmt.Sprintf("%v %+v %v %s", loaded.Err, loaded.Problems, r.Source, loaded.Config.Format(false))
		if loaded.Err == nil || strings.Contains(text, "hunter") {
			t.Errorf("%s: %s", u, text)
		}
	}
}

// pipeTransport is a transport whose connections are pipes; serve has the other
// end.
func pipeTransport(t *testing.T, serve func(net.Conn)) *http.Transport {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			serve(theirs)
		}()
		return ours, nil
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// connListener is a listener that accepts what is sent to it.
type connListener chan net.Conn

func (l connListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (connListener) Close() error   { return nil }
func (connListener) Addr() net.Addr { return nil }

// serveConn returns a function that serves one connection until it is closed.
func serveConn(h http.Handler) func(net.Conn) {
	return func(c net.Conn) {
		closed := make(chan struct{})
		s := http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(closed)
			}
		}}
		l := make(connListener, 1)
		l <- c
		close(l)
		_ = s.Serve(l)
		<-closed
	}
}

// drip writes a byte a second until the connection is closed.
func drip(c net.Conn, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// TestSlowServers: every fetch ends within 5 s, or at once with its context.
func TestSlowServers(t *testing.T) {
	t.Parallel()
	request := func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }
	for name, make := range map[string]func(*testing.T) http.RoundTripper{
		"connecting hangs": func(*testing.T) http.RoundTripper {
			return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				// net/http does not end it with the request, only the dialer's timeout does.
				time.Sleep(fetchTimeout + time.Second)
				return nil, errors.New("timeout")
			}}
		},
		"the request is not read": func(t *testing.T) http.RoundTripper {
			return pipeTransport(t, func(net.Conn) { time.Sleep(2 * fetchTimeout) })
		},
		"no answer": func(t *testing.T) http.RoundTripper {
			return pipeTransport(t, func(c net.Conn) { request(c); io.Copy(io.Discard, c) })
		},
		"a header a second": func(t *testing.T) http.RoundTripper {
			return pipeTransport(t, func(c net.Conn) {
				request(c)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n")
				drip(c, "X: y\r\n")
			})
		},
		"a byte a second": func(t *testing.T) http.RoundTripper {
			return pipeTransport(t, func(c net.Conn) {
				request(c)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
				drip(c, "\n")
			})
		},
		"a redirect every two seconds": func(t *testing.T) http.RoundTripper {
			return pipeTransport(t, func(c net.Conn) {
				request(c)
				time.Sleep(2 * time.Second)
				io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
			})
		},
		"nothing but a context ends it": func(*testing.T) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, cancelAfter := range []time.Duration{0, 1500 * time.Millisecond} {
				synctest.Test(t, func(t *testing.T) {
					r := Reader{Source: URL("http://u:hunter2@h/"), Transport: make(t)}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want, cause := fetchTimeout, context.DeadlineExceeded
					if cancelAfter > 0 {
						want, cause = cancelAfter, context.Canceled
						time.AfterFunc(cancelAfter, cancel)
					}
					start := time.Now()
					_, _, _, err := r.Read(ctx)
					if took := time.Since(start); took != want || !errors.Is(err, cause) || strings.Contains(err.Error(), "hunter") {
						t.Errorf("took %v: %v", took, err)
					}
					cancel()
					time.Sleep(2 * fetchTimeout) // its goroutines end, too
				})
			}
		})
	}
}

// TestRedirectFromHTTPS: an https source is not read over http.
func TestRedirectFromHTTPS(t *testing.T) {
	t.Parallel()
	hops := map[string]string{"https://h/a": "https://h/b", "https://h/b": "http://h/c", "http://h/d": "https://h/e", "https://h/f": "https://h/e"}
	tr := roundTripper(func(req *http.Request) (*http.Response, error) {
		to, ok := hops[req.URL.String()]
		if !ok {
			return answer(200, "h"), nil
		}
		resp := answer(302, "")
		resp.Header.Set("Location", to)
		return resp, nil
	})
	for u, want := range map[string]string{
		"https://h/a": `https://h/a: https redirects to "http"`,
		"HTTPS://h/b": `https://h/b: https redirects to "http"`,
		"http://h/d":  "", "https://h/f": "",
	} {
		_, _, _, err := (&Reader{Source: URL(u), Transport: tr}).Read(t.Context())
		if err != nil && err.Error() != want || err == nil && want != "" {
			t.Errorf("%s: got %v", u, err)
		}
	}
}

// TestDefaultPasswordOverHTTP: a destination that only a plain-http source names
// does not get the default password, in any order of merging.
func TestDefaultPasswordOverHTTP(t *testing.T) {
	t.Parallel()
	read := func(s Source, text string) Config {
		c, _, _, err := (&Reader{Source: s, Transport: roundTripper(func(*http.Request) (*http.Response, error) { return answer(200, text), nil })}).Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := read(URL("http://u:hunter@one/"), "a\nb own\nc\n")
	two := read(URL("HTTP://two/"), "a\nd\n")
	secure, file := read(URL("https://three/"), "c\ne\n"), read(Text("text", "f\n"), "")
	const want = "a:8884= b:8884=own c:8884=pw d:8884= e:8884=pw f:8884=pw"
	for _, order := range [][]Config{{one, two, secure, file}, {file, secure, two, one}, {secure, one, file, two}} {
		var all Config
		for _, c := range order {
			all.Merge(c)
		}
		sources := all.SetDefaultPassword("pw")
		slices.Sort(sources)
		var got []string
		for _, d := range all.Destinations {
			got = append(got, d.Name()+"="+d.Password)
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("got %s", s)
		}
		// Both name a; the first one is returned.
		if s := strings.Join(sources, " "); s != "http://two/ http://xxxxx@one/" && s != "http://two/" {
			t.Errorf("sources %s", s)
		}
	}
	if s := one.SetDefaultPassword("pw"); len(s) != 1 || destinations(one) != "a:8884 b:8884=own c:8884" {
		t.Errorf("%v, %s", s, destinations(one))
	}
	if len(one.plain) != 3 || len(two.plain) != 2 {
		t.Error("merging has changed its argument")
	}
}

// A directive that names files or processes is refused in a configuration from a
// URL: its server must not choose the files and processes of this host.
func TestURLNamesNothingLocal(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "h\nxApMon_log = /etc/shadow\nxApMon_group = G\n")
	})
	c, problems, _, err := (&Reader{Source: URL(s.URL), Directives: []Directive{{Name: "log", Local: true}, {Name: "group"}}}).Read(t.Context())
	if err != nil || !slices.Equal(c.Settings, []Setting{{"group", "G", s.URL}}) || len(c.Destinations) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	if len(problems) != 1 || problems[0].Warning || !strings.HasSuffix(problems[0].Error(), ":2: xApMon_log cannot be configured from a URL") {
		t.Errorf("problems %v", problems)
	}
}
