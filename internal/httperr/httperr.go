// Package httperr keeps passwords out of the errors of HTTP requests.
package httperr

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Proxy returns the proxy of the environment, for [http.Transport]. An error of net/http may
// quote it with its password.
func Proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errors.New("the proxy of the environment cannot be used")
	}
	return u, nil
}

// Plain returns an error without its URL, and replaces an error that quotes another one.
func Plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "failed to parse Location header"):
		return errors.New("redirected to an invalid URL")
	case strings.Contains(text, "://"):
		return errors.New("the request failed; the error is not shown, since it quotes a URL")
	}
	return err
}
