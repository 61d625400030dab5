package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/httperr"
	"github.com/apmon-go/apmon/internal/safetext"
)

const (
	requestTimeout = 5 * time.Second
	maxAnswer      = 32 << 20 // bytes of an answer after decompression
)

// Remote reads the API of another process. Use [NewRemote].
type Remote struct {
	base   url.URL // without user and password
	user   *url.Userinfo
	client *http.Client
}

// NewRemote returns a source for the URL of a receiver, such as https://USER:PASSWORD@HOST:PORT/.
// No error contains the password.
func NewRemote(address string) (*Remote, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil: // the text of the error has the URL
		return nil, errors.New("it is malformed: use http://HOST:PORT/")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it does not begin with http:// or https://: use http://HOST:PORT/")
	case u.Host == "":
		return nil, errors.New("it has no host: use http://HOST:PORT/")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it has a query or a fragment: use http://HOST:PORT/")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = httperr.Proxy
	r := &Remote{base: *u, user: u.User, client: &http.Client{
		Transport: transport,
		Timeout:   requestTimeout,
		// A redirect would take the password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	r.base.User = nil
	r.base.Path = strings.TrimSuffix(u.Path, "/") + "/"
	return r, nil
}

// Name returns the address without user and password.
func (r *Remote) Name() string { return r.base.Host }

// Overview implements [Source].
func (r *Remote) Overview(ctx context.Context) (*dashboard.Overview, error) {
	o, err := get[dashboard.Overview](ctx, r, "overview", nil)
	if err == nil && o.Time.IsZero() { // other JSON
		return nil, errForeign
	}
	return o, err
}

// Nodes implements [Source].
func (r *Remote) Nodes(ctx context.Context, cluster string) (*dashboard.NodeList, error) {
	return get[dashboard.NodeList](ctx, r, "nodes", url.Values{"cluster": {dashboard.Ref(cluster)}, "limit": {limit}})
}

// limit is the parameter for maxEntries.
var limit = strconv.Itoa(maxEntries)

// Params implements [Source].
func (r *Remote) Params(ctx context.Context, cluster, node, name string) (*dashboard.ParamList, error) {
	q := url.Values{"cluster": {dashboard.Ref(cluster)}, "limit": {limit}}
	if node != "" {
		q.Set("node", dashboard.Ref(node))
	}
	if name != "" {
		q.Set("q", exactly(name))
	}
	return get[dashboard.ParamList](ctx, r, "params", q)
}

// Series implements [Source].
func (r *Remote) Series(ctx context.Context, cluster, param string, nodes []string, from time.Time) ([]dashboard.Series, error) {
	q := url.Values{"cluster": {dashboard.Ref(cluster)}, "param": {dashboard.Ref(param)}, "from": {strconv.FormatInt(from.Unix(), 10)}}
	for _, n := range nodes {
		q.Add("node", dashboard.Ref(n))
	}
	l, err := get[dashboard.SeriesList](ctx, r, "series", q)
	if err != nil {
		return nil, err
	}
	// A reference may stand for a name: give the answers the names that were asked for.
	for i := range min(len(l.Series), len(nodes)) {
		l.Series[i].Node = nodes[i]
	}
	return l.Series, nil
}

// get asks for a JSON answer.
func get[T any](ctx context.Context, r *Remote, path string, q url.Values) (*T, error) {
	u := r.base
	u.Path += "api/v1/" + path
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, r.plain(err)
	}
	if r.user != nil {
		password, _ := r.user.Password()
		req.SetBasicAuth(r.user.Username(), password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, r.plain(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, r.plain(err)
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode, b)
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, errForeign
	}
	return v, nil
}

// errForeign is the error of an answer that is not one of the API.
var errForeign = errors.New("the answer is not that of a receiver: is the URL that of --http?")

// errGone is the error of a cluster or node that has ended.
var errGone = errors.New("it is gone")

// statusError returns the error of an answer that is not the one asked for.
func statusError(status int, body []byte) error {
	var e dashboard.Error
	_ = json.Unmarshal(body, &e)
	switch {
	case status == http.StatusUnauthorized:
		return errors.New("it wants a user and a password: use http://USER:PASSWORD@HOST:PORT/")
	case status == http.StatusNotFound && e.Error != "":
		return errGone
	}
	text := strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
	if e.Error != "" {
		text = safetext.Quote(e.Error) + " (" + text + ")"
	}
	return fmt.Errorf("it answers %s", text)
}

// plain returns an error without the URL, which says nothing new.
func (r *Remote) plain(err error) error {
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		return errors.New("timed out")
	}
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if strings.Contains(err.Error(), "malformed HTTP") { // with a part of the answer
		return errForeign
	}
	if e := (*net.OpError)(nil); errors.As(err, &e) { // it has the address
		err = e.Err
	}
	return err
}
