package httperr

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
)

// TestProxy is not parallel. net/http reads the environment only once, and uses no proxy in CGI.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://u:hunter@proxy")
	t.Setenv("REQUEST_METHOD", "GET")
	req, _ := http.NewRequest(http.MethodGet, "http://ml.example.org", nil)
	if u, err := Proxy(req); u != nil || err == nil || err.Error() != "the proxy of the environment cannot be used" {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	other := errors.New("connection refused")
	const from = "http://u:hunter@h/"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{io.ErrUnexpectedEOF, "unexpected EOF"},
		{&url.Error{Op: "Get", URL: from, Err: other}, "connection refused"},
		{fmt.Errorf("wrapped: %w", &url.Error{Op: "Get", URL: from, Err: other}), "connection refused"},
		{&url.Error{Op: "Get", URL: from, Err: fmt.Errorf("failed to parse Location header %q: bad", from)}, "redirected to an invalid URL"},
	} {
		if got := Plain(tt.err); got.Error() != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	if err := Plain(&url.Error{Op: "Get", URL: from, Err: other}); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}
