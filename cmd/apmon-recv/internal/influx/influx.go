// Package influx is the output of apmon-recv that writes to InfluxDB, or to another server that
// takes its line protocol over HTTP.
//
// Datagrams are collected for at most a second, and sent in requests of at most 5000 lines
// and 4 MiB, one at a time. A request that fails because of the server or the network is
// sent again, after a growing pause, until it succeeds; meanwhile the queue of the output
// bounds the memory, and drops what does not fit. Lines that the server refuses for good are
// counted as rejected; the others of the request are kept.
package influx

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/internal/httperr"
)

const (
	// sendInterval is the longest time for which datagrams are collected.
	sendInterval = time.Second
	maxLines     = 5000
	maxBody      = 4 << 20 // bytes before compression
	// requestTime is the time for one request.
	requestTime = 10 * time.Second
	// Pauses after failures double from retryFirst to retryMax.
	retryFirst = time.Second
	retryMax   = time.Minute
	// maxAnswer is the number of bytes of an answer that are read.
	maxAnswer = 16 << 10
	// maxSplits is the number of further requests for which lines are sorted out of one that
	// the server refuses as a whole.
	maxSplits = 64
)

// Options are the settings of an output.
type Options struct {
	// URL is that of the server's endpoint for writes, with its parameters:
	// http://HOST:8086/write?db=DB for version 1, or
	// https://HOST/api/v2/write?org=ORG&bucket=BUCKET for version 2 and 3. It may hold a
	// user and a password.
	URL string `yaml:"url"`
	// TokenFile, if not empty, is a file with the token to send.
	TokenFile string `yaml:"token-file"`
	// Gzip compresses requests.
	Gzip bool `yaml:"gzip"`
}

// Check returns an error if the settings cannot be used. It reads no file. The error holds no
// password.
func (o Options) Check() error {
	_, err := o.parse()
	return err
}

// parse returns the URL of requests.
func (o Options) parse() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, errors.New("url: it is not a URL") // the error would show it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("url: it does not begin with http://HOST or https://HOST")
	case !strings.HasSuffix(u.Path, "/write"):
		return nil, fmt.Errorf("url: %s://%s has no path of writes: use /write?db=DB or /api/v2/write?org=ORG&bucket=BUCKET", u.Scheme, u.Host)
	}
	q := u.Query()
	v2 := strings.HasSuffix(u.Path, "/api/v2/write")
	switch {
	case !v2 && q.Get("db") == "":
		return nil, errors.New("url: it has no parameter db")
	case v2 && q.Get("bucket") == "":
		return nil, errors.New("url: it has no parameter bucket")
	case q.Has("precision") && q.Get("precision") != "ns":
		return nil, errors.New("url: times are in nanoseconds: leave precision out")
	}
	q.Set("precision", "ns")
	u.RawQuery, u.Fragment = q.Encode(), ""
	return u, nil
}

// Output writes to a server.
type Output struct {
	name      string
	url       string
	user      *url.Userinfo
	tokenFile string
	token     atomic.Pointer[string]    // nil for none
	in        atomic.Pointer[output.In] // while Run runs
	// queryPassword is the parameter p of the URL, with which version 1 takes a password.
	queryPassword string
	gzip          bool
	client        *http.Client
	packer        *gzip.Writer
	packed        bytes.Buffer
	failing       int           // failures in a row
	reopened      chan struct{} // holds a token after Reopen
}

// New returns an output. It reads the file of the token.
func New(o Options) (*Output, error) {
	u, err := o.parse()
	if err != nil {
		return nil, err
	}
	out := &Output{name: "influx " + u.Scheme + "://" + u.Host + u.Path, user: u.User, tokenFile: o.TokenFile, gzip: o.Gzip, reopened: make(chan struct{}, 1)}
	out.queryPassword = u.Query().Get("p")
	u.User = nil
	out.url = u.String()
	if err := out.readToken(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = httperr.Proxy
	transport.MaxResponseHeaderBytes = maxAnswer
	out.client = &http.Client{
		Transport: transport,
		Timeout:   requestTime,
		// Another server would get the data and the password.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return out, nil
}

// readToken reads the file of the token, if there is one.
func (o *Output) readToken() error {
	if o.tokenFile == "" {
		return nil
	}
	token, err := conf.ReadPassword(o.tokenFile)
	if err != nil {
		return fmt.Errorf("token-file: %w", err)
	}
	o.token.Store(&token)
	return nil
}

// Reopen reads the token again, which may have been replaced, and ends a pause after failures.
// If the token cannot be read, the last one stays.
func (o *Output) Reopen() {
	if err := o.readToken(); err != nil {
		if in := o.in.Load(); in != nil {
			in.Fails(err)
		}
		return
	}
	select {
	case o.reopened <- struct{}{}:
	default:
	}
}

// Name implements [output.Output].
func (o *Output) Name() string { return o.name }

// batch is the lines of one request.
type batch struct {
	body []byte
	ends []int // of the lines
}

func (b *batch) reset() { b.body, b.ends = b.body[:0], b.ends[:0] }

// Run implements [output.Output].
func (o *Output) Run(ctx context.Context, in *output.In) error {
	o.in.Store(in)
	defer o.client.CloseIdleConnections()
	var b batch
	for in.Take(ctx, maxLines, sendInterval) {
		b.reset()
		for p := range in.Packets() {
			if p.Datagram == nil {
				continue
			}
			body, ok := appendLine(b.body, p.Datagram, p.Received)
			if !ok {
				in.Drop(output.Rejected, 1)
				continue
			}
			b.body, b.ends = body, append(b.ends, len(body))
			if len(b.ends) == maxLines || len(b.body) >= maxBody {
				o.deliver(ctx, in, b)
				b.reset()
				if ctx.Err() != nil {
					in.Drop(output.Stopped, p.Waiting)
					break
				}
			}
		}
		o.deliver(ctx, in, b)
	}
	return nil
}

// deliver sends lines until the server has taken or refused them, or the context ends.
func (o *Output) deliver(ctx context.Context, in *output.In, b batch) {
	splits := 0
	o.part(ctx, in, b.body, b.ends, 0, &splits)
}

// part delivers the lines that end at the given places; the first begins at start.
func (o *Output) part(ctx context.Context, in *output.In, body []byte, ends []int, start int, splits *int) {
	n := len(ends)
	if n == 0 {
		return
	}
	for {
		err := o.post(ctx, body[start:ends[n-1]])
		refused := (*refusedError)(nil)
		switch {
		case err == nil:
			o.failing = 0
			in.Sent(n)
			in.Works()
			return
		case ctx.Err() != nil:
			in.Drop(output.Stopped, n)
			return
		case errors.As(err, &refused) && refused.partial >= 0:
			o.failing = 0
			lost := min(refused.partial, n)
			in.Sent(n - lost)
			in.Drop(output.Rejected, lost)
			in.Fails(err)
			return
		case errors.As(err, &refused):
			o.failing = 0
			in.Fails(err)
			if n == 1 || *splits >= maxSplits {
				in.Drop(output.Rejected, n)
				return
			}
			*splits += 2
			o.part(ctx, in, body, ends[:n/2], start, splits)
			o.part(ctx, in, body, ends[n/2:], ends[n/2-1], splits)
			return
		}
		in.Fails(err)
		o.failing++
		if !o.pause(ctx, err) {
			in.Drop(output.Stopped, n)
			return
		}
	}
}

// pause waits before the next attempt, which Reopen makes at once. It returns false if the
// context ends before.
func (o *Output) pause(ctx context.Context, err error) bool {
	wait := min(backoff.After(retryFirst, o.failing), retryMax)
	if busy := (*busyError)(nil); errors.As(err, &busy) && busy.after > wait {
		wait = min(busy.after, retryMax)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-o.reopened:
		o.failing = 0
		return true
	case <-ctx.Done():
		return false
	}
}

// refusedError is the answer of a server that will never take these lines.
type refusedError struct {
	text    string
	partial int // the number of lines that it did not take, -1 if it took none
}

func (e *refusedError) Error() string { return e.text }

// busyError is the answer of a server that may take the lines later.
type busyError struct {
	text  string
	after time.Duration // how long it asks to wait
}

func (e *busyError) Error() string { return e.text }

// post sends one request.
func (o *Output) post(ctx context.Context, body []byte) error {
	if o.gzip {
		body = o.compress(body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	if o.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if o.user != nil {
		password, _ := o.user.Password()
		req.SetBasicAuth(o.user.Username(), password)
	}
	if token := o.token.Load(); token != nil {
		req.Header.Set("Authorization", "Token "+*token)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the URL
		}
		// An answer that is no HTTP is quoted in the error.
		return errors.New(o.clean(err.Error()))
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return o.answer(resp, string(answer))
}

// compress returns the compressed body, valid until the next call.
func (o *Output) compress(body []byte) []byte {
	o.packed.Reset()
	if o.packer == nil {
		o.packer = gzip.NewWriter(&o.packed)
	} else {
		o.packer.Reset(&o.packed)
	}
	_, _ = o.packer.Write(body) // to memory
	_ = o.packer.Close()
	return o.packed.Bytes()
}

// dropped finds the number of lines that version 1 did not take. It is compiled when it is
// needed, since most runs of the command do not.
var dropped = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\{"error":"partial write:.* dropped=(\d+)`)
})

// answer returns the error that an answer stands for.
func (o *Output) answer(resp *http.Response, body string) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	text := fmt.Sprintf("the server answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if body = o.clean(body); body != "" {
		text += ": " + body
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		e := &refusedError{text, -1}
		if m := dropped().FindStringSubmatch(body); m != nil {
			e.partial, _ = strconv.Atoi(m[1])
		}
		return e
	}
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &busyError{text, time.Duration(min(max(after, 0), 3600)) * time.Second}
}

// clean returns the beginning of an answer or error for the log, on one line, without the secrets that
// a hostile server may have sent back.
func (o *Output) clean(body string) string {
	secrets := []string{o.queryPassword}
	if token := o.token.Load(); token != nil {
		secrets = append(secrets, *token)
	}
	if o.user != nil {
		password, _ := o.user.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(o.user.Username() + ":" + password))
		secrets = append(secrets, basic, password, o.user.String())
	}
	for _, s := range secrets {
		if s != "" {
			body = strings.ReplaceAll(body, s, "…")
		}
	}
	if body = strings.Join(strings.Fields(body), " "); len(body) > 300 {
		body = body[:300] + "…"
	}
	return strings.ToValidUTF8(body, "\uFFFD")
}
