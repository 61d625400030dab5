package testkit

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Serve runs a server that listens, and returns its address. The function ends it, as the end
// of the test does; an error of the server is one of the test.
func Serve(t testing.TB, s interface {
	Addr() net.Addr
	Serve(context.Context) error
}) (addr string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return s.Addr().String(), end
}

// Client returns a client with connections of its own, closed at the end of the test.
func Client(t testing.TB, config *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: Patience}
}

// HTTP sends a request and returns the response, and its body as read and closed.
func HTTP(t testing.TB, c *http.Client, method, url string) (r *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err = c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}
