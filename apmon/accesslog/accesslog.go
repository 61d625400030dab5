package accesslog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// DefaultWindow is the default of [Options].Window.
const DefaultWindow = 15 * time.Second

// Options are the settings of a [Log]. The zero value of each is its default.
type Options struct {
	// Input is the path of a file, which is followed as it grows and is rotated;
	// "-" for standard input; an http or https URL; or "unixgram:PATH" for a unix
	// datagram socket that is created at PATH. It has no default.
	Input string
	// FromStart reads a file that exists at first from its beginning, instead of
	// from its end.
	FromStart bool
	// Format is the format of the lines, by default [Auto].
	Format Format
	// Preset names a Match, which a Match overrides: [HLS], or empty for none. IDs
	// without a Match imply HLS.
	Preset string
	// Match is a regular expression that finds streams in URLs. Without one, the whole
	// site is one stream. The values of its named groups, up to 8, identify the stream;
	// without any, all URLs that match are one stream. It must match from the beginning
	// of the URL, but need not match to its end; begin it with .* to find a stream
	// anywhere. It is applied to the URL without the query.
	Match string
	// IDs declare the streams by the values of the groups in the order in which Match
	// names them (content, format and quality always in that order): an entry such as
	// content1,content2/format1,format2/quality1,quality2 declares all
	// combinations; the maximum is [MaxStreams] in all. Without IDs every stream with a
	// status below 400 in the log is reported, up to that number, and a stream without
	// requests for an hour is forgotten.
	IDs []string
	// Statuses are the statuses of the lines to count as requests, by default all
	// without a Match, else 200 and 206. Other lines count in status_2xx … only.
	Statuses []int
	// AllStatuses counts lines of every status, and those without one.
	AllStatuses bool
	// Window is the length of a window in whole seconds, 1 s to 24 h, by
	// default [DefaultWindow].
	Window time.Duration
	// Node is the template for the node of a stream, by default {host} and the named
	// groups of Match: {host}_{content}_{format}_{quality} for [HLS], {host} for the
	// whole site. Streams with the same node are counted as one.
	Node string
	// Host replaces {host} in Node, and is the node of the log's own parameters.
	// By default it is the full host name.
	Host string
	// Top is the number of clients, and of URLs without their query, that are reported
	// for each window by the bytes sent, 0 to [MaxTop]; 0 reports none. The addresses of
	// clients are personal data.
	Top int
	// Tags are parameters that are added to each message, such as the site. They must not
	// have the name of another parameter.
	Tags []apmon.Param
}

// Option replaces the logger or standard input.
type Option func(*Log)

// WithLogger sets the logger; by default nothing is logged. A Log logs when the input
// becomes available or unavailable, with the reason, and at most once a minute the
// error of a bad line. If the input changes frequently, it logs the first ten changes,
// and then the state every 6 minutes, with the number of changes.
func WithLogger(logger *slog.Logger) Option { return func(l *Log) { l.logger = logger } }

// WithStdin sets the reader that the input "-" reads, by default [os.Stdin].
func WithStdin(r io.Reader) Option { return func(l *Log) { l.stdin = r } }

// Log sums up an access log in windows of time. Make one with [New], read the input
// with [Log.Run], and add it to a client as an [apmon.Messenger].
type Log struct {
	opt    Options
	logger *slog.Logger
	stdin  io.Reader
	read   func(ctx context.Context) // reads the input
	name   string                    // of the input, without a password
	input  state
	client *http.Client // of an input by HTTP
	match  matcher
	seed   maphash.Seed // random, so that clients cannot be constructed to collide
	logged time.Time    // when the error of a line was last logged

	windows // its mutex also guards the fields below
	parser  parser
	entry   entry
	scratch []byte
	bad     error // the last error of a line, until it is logged
}

// New checks the options; it does not read yet. The error names the option that is
// invalid.
func New(o Options, opts ...Option) (*Log, error) {
	if o.Preset == HLS || o.Preset == "" && len(o.IDs) > 0 {
		o.Match = cmp.Or(o.Match, HLSMatch)
	}
	if len(o.Statuses) == 0 && o.Match != "" {
		o.Statuses = []int{200, 206}
	}
	o.AllStatuses = o.AllStatuses || len(o.Statuses) == 0
	o.Format = cmp.Or(o.Format, Auto)
	o.Window = cmp.Or(o.Window, DefaultWindow)
	o.Host = cmp.Or(o.Host, procinfo.Hostname())
	if err := o.check(); err != nil {
		return nil, err
	}
	match, groups, err := newMatcher(o.Match)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(o.Node, o.Host, groups)
	if err != nil {
		return nil, err
	}
	l := &Log{
		opt:    o,
		logger: slog.New(slog.DiscardHandler),
		stdin:  os.Stdin,
		seed:   maphash.MakeSeed(),
		match:  match,
		windows: windows{
			length: int64(o.Window / time.Second),
			grace:  min(5*time.Second, o.Window/2),
			clock:  time.Now,
			top:    newTop(o.Top),
			streamSet: streamSet{
				template: template,
				learn:    len(o.IDs) == 0 && len(groups) > 0,
				byKey:    map[string]*stream{},
				byNode:   map[string]*stream{},
				key:      make([]byte, 0, maxKey),
			},
		},
	}
	for _, set := range opts {
		set(l)
	}
	if err := l.declare(o, groups); err != nil {
		return nil, err
	}
	if l.read, err = l.newInput(); err != nil {
		return nil, err
	}
	return l, nil
}

// declare adds the streams that are known from the start.
func (l *Log) declare(o Options, groups []string) error {
	ids := []identity{{}}
	switch {
	case len(groups) > 0:
		var err error
		if ids, err = declared(o.IDs, groups); err != nil {
			return err
		}
	case len(o.IDs) > 0:
		return errors.New("accesslog: ids need a match with named groups")
	}
	for _, id := range ids {
		one, err := l.add(id)
		if err != nil {
			return fmt.Errorf("accesslog: ids: %w", err)
		}
		if o.Match == "" {
			l.whole = one
		}
	}
	return nil
}

// check returns an error for options that are invalid by themselves.
func (o *Options) check() error {
	switch {
	case o.Preset != "" && o.Preset != HLS:
		return fmt.Errorf("accesslog: preset %s is not %s", safetext.Quote(o.Preset), HLS)
	case o.Format != Auto && o.Format != JSON && o.Format != Combined:
		return fmt.Errorf("accesslog: format %s is none of %s, %s and %s", safetext.Quote(string(o.Format)), Auto, JSON, Combined)
	case o.Window < time.Second || o.Window > 24*time.Hour || o.Window%time.Second != 0:
		return fmt.Errorf("accesslog: window of %v is not of whole seconds, 1 s to 24 h; a bare number is nanoseconds: write 15*time.Second for 15 seconds", o.Window)
	case o.Top < 0 || o.Top > MaxTop:
		return fmt.Errorf("accesslog: top %d is not within 0 … %d", o.Top, MaxTop)
	}
	for _, s := range o.Statuses {
		if s < 100 || s > 999 {
			return fmt.Errorf("accesslog: status %d is not within 100 … 999", s)
		}
	}
	used := map[string]bool{}
	for _, m := range Metrics() {
		used[m.Name] = true
	}
	for i := range o.Tags {
		name := o.Tags[i].Name
		if err := xdr.CheckName(name); err != nil {
			return fmt.Errorf("accesslog: tag: %w", err)
		}
		if used[name] || strings.HasPrefix(name, "top_") {
			return fmt.Errorf("accesslog: tag %s: a parameter has that name", safetext.Quote(name))
		}
		used[name] = true
	}
	if err := xdr.CheckName(o.Host); err != nil {
		return fmt.Errorf("accesslog: host: %w", err)
	}
	return nil
}

// Window returns the length of a window: the interval of reports.
func (l *Log) Window() time.Duration { return l.opt.Window }

// stuck is how long Run waits for a read to end after its context has ended.
const stuck = 200 * time.Millisecond

// Run reads until ctx or standard input ends. Errors of the input are logged, and the
// input is opened again. Call it once.
//
// A read that cannot be interrupted, of standard input or on a dead file system, does
// not delay the return of Run: its goroutine remains.
func (l *Log) Run(ctx context.Context) {
	l.begin()
	defer l.end()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.read(ctx)
	}()
	tick := time.NewTicker(min(time.Second, l.opt.Window/4))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.look()
			l.logState(false)
		case <-ended:
			l.logState(true)
			return
		case <-ctx.Done():
			select {
			case <-ended:
			case <-time.After(stuck):
			}
			return
		}
	}
}

// line counts a line. The caller holds l.mu.
func (l *Log) line(line []byte) {
	if !l.running || l.ended {
		return
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) == 0 {
		return
	}
	e := &l.entry
	if err := l.parser.parse(l.opt.Format, line, e); err != nil {
		l.reject(err)
		return
	}
	w := e.time / l.length
	counted := l.opt.AllStatuses || slices.Contains(l.opt.Statuses, int(e.status))
	switch {
	case w < l.next:
		if counted {
			l.own.late++
		}
		return
	case w > l.now+1:
		if counted {
			l.reject(errFuture)
		}
		return
	}
	s := l.whole
	if s == nil {
		// A client can choose any query, so the query must not identify a stream.
		path, _, _ := bytes.Cut(e.url, []byte("?"))
		if id, ok := l.match(path); ok {
			s = l.find(id, counted && e.status < 400)
		}
		if s == nil {
			if counted {
				l.own.unmatched++
			}
			return
		}
	}
	slot := w % slots
	c := &s.counts[slot]
	if class := e.status/100 - 2; class >= 0 && class < classes {
		c.classes[class]++
	}
	l.seen[slot] = true
	if !counted {
		return
	}
	l.scratch = append(append(append(l.scratch[:0], e.client...), 0), e.ua...)
	c.add(e, maphash.Bytes(l.seed, l.scratch))
	l.top.add(slot, e)
}

// reject counts a line that cannot be used. The caller holds l.mu, and logs the
// error later.
func (l *Log) reject(err error) {
	l.own.bad++
	l.bad = err
}

// unlock unlocks l.mu, and logs the error of a line, at most once a minute. Only the
// goroutine that reads calls it.
func (l *Log) unlock() {
	err := l.bad
	l.bad = nil
	l.mu.Unlock()
	if now := time.Now(); err != nil && now.Sub(l.logged) >= time.Minute {
		l.logged = now
		l.logger.Warn("line of access log not used", slog.String("input", l.name), slog.String("error", err.Error()))
	}
}

// Messages sends the results of the windows that are closed, as an [apmon.Messenger].
func (l *Log) Messages(ctx context.Context, send func(apmon.Message) error) error {
	l.look()
	l.mu.Lock()
	results := l.results
	l.results = nil
	l.mu.Unlock()
	var first error
	failed := 0
	for _, r := range results {
		at := time.Unix(r.window*l.length, 0)
		try := func(node string, params []apmon.Param) {
			err := context.Cause(ctx)
			if err == nil {
				err = send(apmon.Message{Node: node, Time: at, Params: params})
			}
			if err != nil {
				failed++
				if first == nil {
					first = err
				}
			}
		}
		for _, s := range r.sums {
			try(s.node, s.params(float64(l.length), l.opt.Tags))
		}
		try(l.opt.Host, r.params(l.opt.Tags))
	}
	if first != nil {
		return fmt.Errorf("accesslog: %d messages not sent: %w", failed, first)
	}
	return nil
}
