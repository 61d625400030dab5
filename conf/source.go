package conf

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// SystemFile is the configuration that the commands read if nothing else names
	// one.
	SystemFile = "/etc/apmon/destinations.conf"
	// maxSize is the size in bytes of the largest configuration that is read.
	maxSize = 1 << 20
	// fetchTimeout bounds both the connection to a URL and the whole fetch.
	fetchTimeout = 5 * time.Second
	// attempts is how often a file is read that changes during the read.
	attempts = 3
	// maxRedirects is how many redirects are followed.
	maxRedirects = 10
	// maxValidator is the length in bytes of the longest ETag that is sent back.
	maxValidator = 1024
)

// Source is the origin of a configuration. Make one with [File], [URL], [List] or
// [Text], or parse a string in any dialect with [ParseSource].
type Source struct {
	// Name is a path, a URL without its password, or the name that was given to
	// an inline source.
	Name string

	kind   kind
	at     string  // path, URL or text
	config *Config // of a fixed source
}

type kind int

const (
	inline kind = iota // lines
	list               // comma-separated
	file               // or a folder
	remote
	broken // at is the error
	fixed  // config is the configuration
)

// File returns a source that is a configuration file, or a folder of files *.conf, which
// are read in the byte order of their names and make one configuration. A file in a
// folder that cannot be read is a [Problem]; its last good text stays in use.
func File(path string) Source { return Source{Name: path, kind: file, at: path} }

// URL returns a source that is fetched by http or https. Its query is sent unchanged. An
// https URL must not redirect to http. [Config.SetDefaultPassword] sets no password for
// destinations that only http URLs name.
func URL(u string) Source { return Source{Name: redact(u), kind: remote, at: u} }

// redact removes user and password from a URL, also from one that cannot be parsed: the
// user may be a token.
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

// Text returns a source that is the text of a configuration.
func Text(name, text string) Source { return Source{Name: name, kind: inline, at: text} }

// List returns a source that is a comma-separated list of destinations.
func List(name, text string) Source { return Source{Name: name, kind: list, at: text} }

// Broken returns a source that always fails with the given error. It takes the place
// of a source with an invalid name, so that the others are used.
func Broken(name string, err error) Source { return Source{Name: name, kind: broken, at: err.Error()} }

// Static reports whether the source never changes.
func (s Source) Static() bool { return s.kind != file && s.kind != remote }

// String returns the name.
func (s Source) String() string { return s.Name }

// GoString keeps passwords out of %#v.
func (s Source) GoString() string { return "conf.Source(" + s.Name + ")" }

// Reader reads one source repeatedly. It is not safe for concurrent use.
type Reader struct {
	Source Source
	// Lookup finds monitoring options by name; nil finds none.
	Lookup OptionLookup
	// Directives are the directives that the program registers.
	Directives []Directive
	// Transport fetches URLs; nil for one with the proxies of the environment.
	Transport http.RoundTripper

	reading chan files    // receives the result of a read under way; nil for none
	settle  time.Duration // the least age of a new text; 0 for settleTime

	parts              []part // of the last read; nil if there was none
	etag, lastModified string // of the last response
}

// part is a text with its name in messages: one file of a folder, or the whole of
// another source.
type part struct {
	name string
	text []byte
	err  error // of reading the file; the text is then the last good one
}

// ErrNoDestination is the error of a source that has no usable destination.
var ErrNoDestination = errors.New("no usable destination in it")

// Read reads the source and reports whether its text has changed. For a source without
// a usable destination it returns the configuration together with an error that wraps
// [ErrNoDestination]. It waits at most 5 s for a URL, and for a pipe until ctx ends.
func (r *Reader) Read(ctx context.Context) (c Config, problems []Problem, changed bool, err error) {
	var parts []part
	switch r.Source.kind {
	case fixed:
		c, changed, r.parts = *r.Source.config, r.parts == nil, []part{}
		if len(c.Destinations) == 0 {
			err = ErrNoDestination
		}
		return c, nil, changed, err
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
