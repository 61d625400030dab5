package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/internal/httperr"
)

const (
	// reconnect is the time between the end of an input and opening it again.
	reconnect = 3 * time.Second
	// dialTimeout bounds connecting to a server. A server that has not answered for
	// that time is logged.
	dialTimeout = 10 * time.Second
)

// newInput returns the function that reads the input of the options. The function
// returns when its context ends, or when the input cannot be read again.
func (l *Log) newInput() (func(context.Context), error) {
	in := l.opt.Input
	l.name = in
	switch path, isSocket := strings.CutPrefix(in, "unixgram:"); {
	case in == "":
		return nil, errors.New("accesslog: no input")
	case in == "-":
		return l.readStdin, nil
	case isSocket && path == "":
		return nil, errors.New("accesslog: unixgram: without a path")
	case isSocket && len(path) > maxSocketPath:
		return nil, fmt.Errorf("accesslog: unixgram: the path is longer than %d bytes", maxSocketPath)
	case strings.HasPrefix(in, "http:") && !strings.HasPrefix(in, "http://"), strings.HasPrefix(in, "https:") && !strings.HasPrefix(in, "https://"):
		return nil, errors.New("accesslog: the input is not an http or https URL")
	case isSocket:
		return func(ctx context.Context) {
			l.again(ctx, func(ctx context.Context) error { return l.receive(ctx, path) })
		}, nil
	case strings.Contains(in, "://"):
		u, err := url.Parse(in)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// The error may quote any part of the URL, including a password.
			return nil, errors.New("accesslog: the input is not an http or https URL")
		}
		if _, ok := u.User.Password(); u.User != nil && !ok {
			u.User = url.User("xxxxx") // it may be a token
		}
		l.name = u.Redacted()
		l.client = newClient()
		return func(ctx context.Context) {
			l.again(ctx, func(ctx context.Context) error { return l.download(ctx, in) })
		}, nil
	}
	return func(ctx context.Context) { l.follow(ctx, in) }, nil
}

// maxSocketPath is the shortest limit of known systems, without the zero at the end.
const maxSocketPath = 103

// again opens an input repeatedly.
func (l *Log) again(ctx context.Context, read func(context.Context) error) {
	for ctx.Err() == nil {
		err := read(ctx)
		l.connect(false)
		if ctx.Err() == nil {
			l.state(err)
			backoff.Sleep(ctx, reconnect)
		}
	}
}

// readStdin reads standard input to its end.
func (l *Log) readStdin(ctx context.Context) {
	s := newLines(l)
	l.connect(true)
	l.state(nil)
	for ctx.Err() == nil {
		if _, err := s.read(l.stdin); err != nil {
			if err == io.EOF {
				err = errors.New("it has ended")
			}
			s.end(true)
			l.state(err)
			return
		}
	}
}

// newClient returns a client for a response that never ends. The time until it begins is
// not limited: a server may send its headers with the first line.
func newClient() *http.Client {
	// Keep-alives detect a peer that has vanished after 25 s.
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return &http.Client{Transport: &http.Transport{
		Proxy:                  httperr.Proxy,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxLine,
		DisableKeepAlives:      true,
		DisableCompression:     true, // it would delay lines
	}}
}

// download reads a response to its end. It always returns an error.
func (l *Log) download(ctx context.Context, from string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return errors.New("not a URL")
	}
	l.asking()
	resp, err := l.client.Do(req)
	if err != nil {
		return httperr.Plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	l.connect(true)
	l.state(nil)
	s := newLines(l)
	for {
		if _, err := s.read(resp.Body); err != nil {
			s.end(false)
			if err == io.EOF {
				err = errors.New("the server ended the response")
			}
			return httperr.Plain(err)
		}
	}
}
