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

// Plain removes the URL from an error, also the one of a redirect.
func Plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if strings.Contains(err.Error(), "://") {
		return errors.New("redirected to an invalid URL")
	}
	return err
}
