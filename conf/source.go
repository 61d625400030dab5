package conf

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	// SystemFile is where the commands look for destinations if nothing else
	// names any.
	SystemFile = "/etc/apmon/destinations.conf"
	// maxSize is the size in bytes of the largest configuration that is read.
	maxSize = 1 << 20
	// fetchTimeout bounds connecting to a URL, and the whole of fetching it.
	fetchTimeout = 5 * time.Second
	// attempts is how often a file is read that changes meanwhile.
	attempts = 3
	// maxRedirects is how many redirects are followed.
	maxRedirects = 10
	// maxValidator is the length in bytes of the longest ETag that is sent back.
	maxValidator = 1024
)

// Source is where a configuration comes from. Make one with [File], [URL],
// [List], [Text] or, of a string in whatever dialect, [Sources].
type Source struct {
	// Name is a path, a URL without its password, or what an inline source was
	// named.
	Name string

	kind kind
	at   string // path, URL or text
}

type kind int

const (
	inline kind = iota // lines
	list               // comma-separated
	file               // or a folder
	remote
	broken // at is why
)

// File is a configuration file, or a folder of files *.conf, which are read in
// the order of their names' bytes and make one configuration. A file in a folder
// that cannot be read is a [Problem]; its last good text stays in use.
func File(path string) Source { return Source{path, file, path} }

// URL is a configuration to be fetched by http or https. Its query travels
// unchanged. One with https does not redirect to http. To destinations that only
// http names, [Config.DefaultPassword] gives none.
func URL(u string) Source { return Source{redact(u), remote, u} }

// redact takes user and password out of a URL, also of one that cannot be
// parsed: the user may be a token.
func redact(u string) string {
	if parsed, err := url.Parse(u); err == nil && parsed.Host != "" {
		if parsed.User != nil {
			parsed.User = url.User("xxxxx")
		}
		return parsed.String()
	}
	i := strings.LastIndexByte(u, '@')
	if i < 0 {
		return u
	}
	scheme := ""
	if n := strings.Index(u[:i], "://"); n >= 0 {
		scheme = u[:n+3]
	}
	return scheme + "xxxxx" + u[i:]
}

// Text is a configuration that is there already, as lines.
func Text(name, text string) Source { return Source{name, inline, text} }

// List is a comma-separated list of destinations.
func List(name, text string) Source { return Source{name, list, text} }

// Broken is a source that cannot be read, for the reason given: it takes the
// place of one whose very name is wrong, so that the others are used.
func Broken(name string, err error) Source { return Source{name, broken, err.Error()} }

// Static reports whether the source never changes.
func (s Source) Static() bool { return s.kind != file && s.kind != remote }

// String is the name.
func (s Source) String() string { return s.Name }

// GoString keeps passwords out of %#v.
func (s Source) GoString() string { return "conf.Source(" + s.Name + ")" }

// Reader reads one source, again and again. It is not safe for concurrent use.
type Reader struct {
	Source Source
	// Lookup finds monitoring options by name; nil finds none.
	Lookup OptionLookup
	// Directives are those of the program.
	Directives []Directive
	// Transport fetches URLs; nil is one with proxies from the environment.
	Transport http.RoundTripper

	reading chan files    // a read of files that has not ended, nil for none
	settle  time.Duration // how long a file has to be left alone; 0 for settleTime

	parts              []part // as they were last read; nil if never
	etag, lastModified string // of a URL's
}

// part is a text and what it is called in messages: one file of a folder, or
// the whole of any other source.
type part struct {
	name string
	text []byte
	err  error // why the file could not be read; the text is then the last good one
}

// ErrNoDestination: a source has been read, and names no usable destination.
var ErrNoDestination = errors.New("no usable destination in it")

// Read reads the source and reports whether it says anything new. A source
// that names no destination is an error, which wraps [ErrNoDestination]; what
// could be read of it is returned all the same. It waits 5 s at most for a
// URL; the context may end that earlier, and the wait for a pipe.
func (r *Reader) Read(ctx context.Context) (c Config, problems []Problem, changed bool, err error) {
	var parts []part
	switch r.Source.kind {
	case inline, list:
		parts = []part{{name: r.Source.Name, text: []byte(r.Source.at)}}
	case broken:
		err = errors.New(r.Source.at)
	case file:
		parts, err = r.readFiles(ctx)
	case remote:
		parts, err = r.fetch(ctx)
	}
	if err != nil {
		return Config{Source: r.Source.Name}, nil, false, err
	}
	changed = r.parts == nil || !same(parts, r.parts)
	r.parts = parts
	if r.Source.kind == list {
		c, problems = ParseList(r.Source.Name, r.Source.at)
	} else {
		c.Source = r.Source.Name
		parser := parser{adder{c: &c}, r.Lookup, r.Directives, r.Source.kind == remote}
		for _, p := range parts {
			if p.err != nil {
				problems = append(problems, Problem{Source: p.name, Err: p.err})
			}
			problems = append(problems, parser.parse(p.name, p.text)...)
		}
	}
	if r.Source.kind == remote && !isHTTPS(r.Source.at) {
		for _, d := range c.Destinations {
			c.setPlain(d.Name(), r.Source.Name)
		}
	}
	if len(c.Destinations) == 0 {
		return c, problems, changed, ErrNoDestination
	}
	return c, problems, changed, nil
}

// readFiles is the function of this name with an end to its waiting: on a dead
// file system it is left to itself, and there is one of it at a time.
func (r *Reader) readFiles(ctx context.Context) ([]part, error) {
	inherited := r.reading != nil
	if !inherited {
		reading := make(chan files, 1)
		r.reading = reading
		old, settle := r.parts, cmp.Or(r.settle, settleTime)
		go func() {
			parts, err := readFiles(ctx, r.Source.at, old)
			// What was good is not given up for a file that somebody may be
			// writing just now.
			for i := 0; i < attempts && err == nil && old != nil && !same(parts, old) && fresh(parts, settle); i++ {
				select {
				case <-time.After(settle):
					parts, err = readFiles(ctx, r.Source.at, old)
				case <-ctx.Done():
					err = fmt.Errorf("%s: changes while it is read", r.Source.Name)
				}
			}
			reading <- files{parts, err}
		}()
	}
	select {
	case f := <-r.reading:
		r.reading = nil
		if !inherited {
			return f.parts, f.err
		}
		// An earlier caller has given up on that one: what it says may be old,
		// and is used only where there is no time for another.
		parts, err := r.readFiles(ctx)
		if err != nil && ctx.Err() != nil && f.err == nil {
			return f.parts, nil
		}
		return parts, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", r.Source.Name, context.Cause(ctx))
	}
}

func same(a, b []part) bool {
	return slices.EqualFunc(a, b, func(a, b part) bool {
		return a.name == b.name && bytes.Equal(a.text, b.text) && fmt.Sprint(a.err) == fmt.Sprint(b.err)
	})
}

// settleTime is how long a file has to be left alone before a new text of it is
// believed.
const settleTime = time.Second

// fresh reports whether a file was written to just now.
func fresh(parts []part, settle time.Duration) bool {
	for _, p := range parts {
		if info, err := os.Stat(p.name); err == nil && info.Mode().IsRegular() {
			if age := time.Since(info.ModTime()); age >= 0 && age < settle {
				return true
			}
		}
	}
	return false
}

type files struct {
	parts []part
	err   error
}

// readFiles returns the text of a file, or those of a folder. Of a file in a
// folder that cannot be read the old text is kept, if there is one; it is an
// error only if none of them can be read.
func readFiles(ctx context.Context, path string, old []part) ([]part, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		text, err := readFile(ctx, path)
		return []part{{name: path, text: text}}, err
	}
	entries, err := os.ReadDir(path) // in the order of their names
	if err != nil {
		return nil, err
	}
	parts, size := []part{}, 0
	var failed error // the first failure, nil if anything can be used
	for _, e := range entries {
		// Not what editors and package managers leave behind: a.conf~,
		// a.conf.rpmnew, .a.conf.swp.
		if name := e.Name(); !strings.HasSuffix(name, ".conf") || name[0] == '.' || e.IsDir() {
			continue
		}
		p := part{name: filepath.Join(path, e.Name())}
		p.text, p.err = readEntry(ctx, p.name)
		if p.err == nil && size+len(p.text) > maxSize {
			p.text, p.err = nil, fmt.Errorf("more than %d bytes with the files before it", maxSize)
		}
		if p.err != nil {
			if _, err := os.Lstat(p.name); errors.Is(err, fs.ErrNotExist) {
				continue // removed just now
			}
			if i := slices.IndexFunc(old, func(o part) bool { return o.name == p.name }); i >= 0 {
				p.text = old[i].text
			}
		}
		switch {
		case p.err == nil || p.text != nil:
			failed = nil
		case len(parts) == 0:
			failed = fmt.Errorf("%s: %w", p.name, p.err)
		}
		parts, size = append(parts, p), size+len(p.text)
	}
	return parts, failed
}

// readEntry reads a file of a folder. Its errors do not name the file.
func readEntry(ctx context.Context, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("a link to a file that does not exist")
	case err != nil:
		return nil, pathless(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file") // a pipe would be waited for
	}
	text, err := readText(ctx, path)
	return text, pathless(err)
}

// pathless takes the path out of an error of package os.
func pathless(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readFile reads a file. Its errors name it.
func readFile(ctx context.Context, path string) ([]byte, error) {
	text, err := readText(ctx, path)
	if p := (*fs.PathError)(nil); err != nil && !errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return text, err
}

// readText reads a file that may be written to meanwhile: it is read again if
// it has changed between the first byte and the last.
func readText(ctx context.Context, path string) ([]byte, error) {
	for range attempts {
		text, whole, err := readOnce(ctx, path)
		if err != nil || whole {
			return text, err
		}
	}
	return nil, errors.New("changes while it is read")
}

func readOnce(ctx context.Context, path string) (text []byte, whole bool, err error) {
	// To open a named pipe that nobody writes to would wait for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	before, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	text, err = io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, false, err
	}
	if len(text) > maxSize {
		return nil, false, fmt.Errorf("more than %d bytes", maxSize)
	}
	if !before.Mode().IsRegular() {
		return text, true, nil // a pipe, as of <(...)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	return text, after.Size() == int64(len(text)) && after.ModTime().Equal(before.ModTime()), nil
}

// fetch gets the text of a URL, the one it has if the server says that it is
// still the same.
func (r *Reader) fetch(ctx context.Context) ([]part, error) {
	ctx, stop := context.WithTimeout(ctx, fetchTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Source.at, nil)
	if err != nil {
		// The error may quote any part of the URL, so of a password in it.
		return nil, fmt.Errorf("%s: not a URL", r.Source.Name)
	}
	// Both are empty as long as there is nothing to compare with.
	if r.etag != "" {
		req.Header.Set("If-None-Match", r.etag)
	}
	if r.lastModified != "" {
		req.Header.Set("If-Modified-Since", r.lastModified)
	}
	transport := r.Transport
	if transport == nil {
		// Minutes pass between two requests: no connection is kept.
		transport = &http.Transport{
			Proxy:                  proxy,
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
		return nil, plainURLError(r.Source.Name, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && r.parts != nil:
		return r.parts, nil
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: status %s", r.Source.Name, quote(resp.Status))
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

// checkRedirect keeps a source that was named with https from being read over
// plain http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("https redirects to " + quote(req.URL.Scheme))
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// validator is a header to be sent back, unless it could not be sent.
func validator(resp *http.Response, name string) string {
	v := resp.Header.Get(name)
	if len(v) > maxValidator || strings.ContainsFunc(v, unicode.IsControl) {
		return ""
	}
	return v
}

// proxy is the one of the environment. The error of one that is no URL would
// quote it, and the password in it.
func proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errors.New("the proxy that the environment names is not a URL")
	}
	return u, nil
}

// plainURLError takes the URL, which may hold a password, out of an error, also
// that of a redirect.
func plainURLError(name string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := err.Error(); strings.Contains(text, "://") && strings.Contains(text, "@") {
		return fmt.Errorf("%s: redirected to what is not a URL", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}
