package httpstats

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// still is a ResponseWriter that does nothing. It has the same optional methods as that
// of net/http for HTTP/1.
type still struct{ header http.Header }

func (w *still) Header() http.Header                   { return w.header }
func (w *still) Write(p []byte) (int, error)           { return len(p), nil }
func (w *still) WriteString(s string) (int, error)     { return len(s), nil }
func (w *still) WriteHeader(int)                       {}
func (w *still) Flush()                                {}
func (w *still) ReadFrom(src io.Reader) (int64, error) { return io.Copy(io.Discard, src) }

// handler sends a short response, and checks its writer for a method as io.Copy does.
var handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	if _, ok := w.(io.ReaderFrom); !ok {
		panic("no ReadFrom")
	}
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, "hello")
})

func TestWrapAllocatesOnce(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	h := New(Options{}).Wrap(handler)
	w, r := &still{http.Header{}}, httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 1 {
		t.Errorf("%v allocations a request", n)
	}
}

// BenchmarkWrap measures a short response, with and without Wrap.
func BenchmarkWrap(b *testing.B) {
	log, err := OpenLogFile(filepath.Join(b.TempDir(), "log"), AppendJSON)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for _, c := range []struct {
		name string
		h    http.Handler
	}{
		{"bare", handler},
		{"wrapped", New(Options{}).Wrap(handler)},
		{"idle", New(Options{IdleLimit: time.Minute}).Wrap(handler)},
		{"log", New(Options{Log: []func(*Record){log.Log}}).Wrap(handler)},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, r := &still{http.Header{}}, httptest.NewRequest("GET", "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				c.h.ServeHTTP(w, r)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				w, r := &still{http.Header{}}, httptest.NewRequest("GET", "/", nil)
				for pb.Next() {
					c.h.ServeHTTP(w, r)
				}
			})
		})
	}
}

// BenchmarkFile sends a file of 16 MiB over TCP, which the kernel copies (sendfile).
func BenchmarkFile(b *testing.B) {
	const size = 16 << 20
	path := filepath.Join(b.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	for _, c := range []struct {
		name string
		h    http.Handler
	}{
		{"bare", files}, {"wrapped", New(Options{}).Wrap(files)},
	} {
		b.Run(c.name, func(b *testing.B) {
			server := httptest.NewServer(c.h)
			defer server.Close()
			b.SetBytes(size)
			for b.Loop() {
				resp, err := server.Client().Get(server.URL)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
