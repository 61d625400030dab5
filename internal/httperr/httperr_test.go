package httperr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each HTTP client of the commands and packages uses Proxy.
func TestEveryClient(t *testing.T) {
	t.Parallel()
	client := regexp.MustCompile(`http\.(Transport\{|DefaultTransport|DefaultClient|Get\(|Post\()`)
	found := 0
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "examples" || e.Name() == "testkit"):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if client.Match(text) {
			found++
			if !strings.Contains(string(text), "httperr.Proxy") {
				t.Errorf("%s has a client whose errors may quote the password of a proxy", path)
			}
		}
		return err
	})
	if err != nil || found < 4 {
		t.Errorf("%d clients found, %v", found, err)
	}
}

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
		{&url.Error{Op: "Get", URL: from, Err: errors.New(`failed to parse Location header "//u:hunter@h:bad/": bad`)}, "redirected to an invalid URL"},
		{&url.Error{Op: "Get", URL: from, Err: errors.New("Forbidden: see https://u:hunter@proxy")}, "the request failed; the error is not shown, since it quotes a URL"},
	} {
		if got := Plain(tt.err); got.Error() != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	if err := Plain(&url.Error{Op: "Get", URL: from, Err: other}); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}
