package conf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"unicode"

	"github.com/apmon-go/apmon/internal/httperr"
	"github.com/apmon-go/apmon/internal/safetext"
)

// fetch returns the text of a URL, or that of the last fetch if the server reports no
// change.
func (r *Reader) fetch(ctx context.Context) ([]part, error) {
	ctx, stop := context.WithTimeout(ctx, fetchTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Source.at, nil)
	if err != nil {
		// The error may quote any part of the URL, including its password.
		return nil, fmt.Errorf("%s: not a URL", r.Source.Name)
	}
	// Both are empty before the first fetch.
	if r.etag != "" {
		req.Header.Set("If-None-Match", r.etag)
	}
	if r.lastModified != "" {
		req.Header.Set("If-Modified-Since", r.lastModified)
	}
	transport := r.Transport
	if transport == nil {
		// Minutes pass between two requests, so no connection is kept.
		transport = &http.Transport{
			Proxy:                  httperr.Proxy,
			DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			TLSHandshakeTimeout:    fetchTimeout,
			DisableKeepAlives:      true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxSize,
		}
	}
	client := http.Client{Transport: transport, CheckRedirect: checkRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Source.Name, httperr.Plain(err))
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && r.parts != nil:
		return r.parts, nil
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: status %s", r.Source.Name, safetext.Quote(resp.Status))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Source.Name, err)
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s: more than %d bytes", r.Source.Name, maxSize)
	}
	r.etag, r.lastModified = validator(resp, "ETag"), validator(resp, "Last-Modified")
	return []part{{name: r.Source.Name, text: text}}, nil
}

func isHTTPS(u string) bool {
	scheme, _, _ := strings.Cut(u, ":")
	return strings.EqualFold(scheme, "https")
}

// checkRedirect refuses redirects from https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("https redirects to " + safetext.Quote(req.URL.Scheme))
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// validator returns a header to send back, or "" if it cannot be sent.
func validator(resp *http.Response, name string) string {
	v := resp.Header.Get(name)
	if len(v) > maxValidator || strings.ContainsFunc(v, unicode.IsControl) {
		return ""
	}
	return v
}
