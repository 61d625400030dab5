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
