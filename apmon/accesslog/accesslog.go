package accesslog

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// DefaultWindow is the length of a window.
const DefaultWindow = 15 * time.Second

// Options tell what to read, and how. The zero value of each is its default.
type Options struct {
	// Input is what is read: the path of a file, which is followed as it grows
	// and is rotated; "-" for standard input; an http or https URL; or
	// "unixgram:PATH" for a unix datagram socket to be made at PATH. It has no
	// default.
	Input string
	// Stdin is what "-" reads, by default [os.Stdin].
	Stdin io.Reader
	// FromStart has the file that is there at first read from its beginning,
	// instead of from its end on.
	FromStart bool
	// Format is that of the lines, by default [JSON].
	Format Format
	// Match is the regular expression that finds a stream in a URL, by default
	// [DefaultMatch]. It has the named groups content, format and quality, and
	// has to match from the beginning of the URL on, but not to its end; begin it
	// with .* to find a stream anywhere. The URL is that of the line, up to a
	// question mark.
	Match string
	// IDs declare the streams, each entry as
	// content1,content2/format1,format2/quality1,quality2: all combinations,
	// [MaxStreams] in all. With none, all streams are taken that the log names,
	// up to that number; one that is silent for an hour is forgotten.
	IDs []string
	// Statuses are those that count, by default 200 and 206. Lines of any other
	// are passed over.
	Statuses []int
	// Window is the length of a window in whole seconds, 1 s to 24 h, by
	// default [DefaultWindow].
	Window time.Duration
	// Node is the template for the node of a stream, by default [DefaultNode].
	// Streams whose nodes are the same are one.
	Node string
	// Host takes the place of {host} in Node, and is the node of the log's own
	// parameters. By default it is the full host name.
	Host string
	// Logger is told when the input is there or not, and why, and what is wrong
	// with a line, once a minute. Of an input that comes and goes, ten changes are
	// logged as they come, and then its state every 6 minutes, with the number of
	// changes. By default nothing is logged.
	Logger *slog.Logger
}

// Log sums up an access log in windows of time. Make one with [New], let
// [Log.Run] read, and have it reported: it is an [apmon.Messenger].
type Log struct {
	opt    Options
	read   func(ctx context.Context) // reads the input
	name   string                    // of the input, without a password
	input  state
	client *http.Client // of an input by HTTP
	match  matcher
	window int64         // in s
	grace  time.Duration // how long a window stays open after its end
	learn  bool          // streams are not declared
	seed   maphash.Seed  // so that nobody can make up clients that collide
	clock  func() time.Time
	told   time.Time // when a bad line was logged

	mu      sync.Mutex
	parser  parser
	entry   entry
	scratch []byte
	culprit error // what was wrong with a line, until it is logged
	streams []*stream
	byKey   map[string]*stream
	byNode  map[string]*stream
	windows
}

// stream is what is counted of a node.
type stream struct {
	node   string
	counts [slots]count
	silent int64 // windows in a row
}

type count struct {
	requests, bytes float64
	clients         clients
}

func (c *count) reset() {
	c.requests, c.bytes = 0, 0
	c.clients.reset()
}

// New checks the options, and reads nothing yet. The error names the option
// that cannot be used.
func New(o Options) (*Log, error) {
	if len(o.Statuses) == 0 {
		o.Statuses = []int{200, 206}
	}
	o.Format = cmp.Or(o.Format, JSON)
	o.Match = cmp.Or(o.Match, DefaultMatch)
	o.Window = cmp.Or(o.Window, DefaultWindow)
	o.Node = cmp.Or(o.Node, DefaultNode)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Format != JSON && o.Format != Combined:
		return nil, fmt.Errorf("accesslog: format %s is neither %s nor %s", safetext.Quote(string(o.Format)), JSON, Combined)
	case o.Window < time.Second || o.Window > 24*time.Hour || o.Window%time.Second != 0:
		return nil, fmt.Errorf("accesslog: window of %v is not of whole seconds, 1 s to 24 h", o.Window)
	}
	for _, s := range o.Statuses {
		if s < 100 || s > 999 {
			return nil, fmt.Errorf("accesslog: status %d is not within 100 … 999", s)
		}
	}
	if err := checkTemplate(o.Node); err != nil {
		return nil, err
	}
	if o.Host == "" {
		o.Host = procinfo.Hostname()
	}
	if err := xdr.CheckName(o.Host); err != nil {
		return nil, fmt.Errorf("accesslog: host: %w", err)
	}
	l := &Log{
		opt:    o,
		window: int64(o.Window / time.Second),
		grace:  min(5*time.Second, o.Window/2),
		learn:  len(o.IDs) == 0,
		seed:   maphash.MakeSeed(),
		clock:  time.Now,
		byKey:  map[string]*stream{},
		byNode: map[string]*stream{},
	}
	var err error
	if l.match, err = newMatcher(o.Match); err != nil {
		return nil, err
	}
	ids, err := declared(o.IDs)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, err := l.addStream(id); err != nil {
			return nil, fmt.Errorf("accesslog: ids: %w", err)
		}
	}
	if l.read, err = l.newInput(); err != nil {
		return nil, err
	}
	return l, nil
}

// Window is the length of a window: how often there is something to report.
func (l *Log) Window() time.Duration { return l.opt.Window }

// addStream adds an identity, if it is new.
func (l *Log) addStream(id identity) (*stream, error) {
	key := string(id.appendKey(nil))
	s := l.byKey[key]
	if s != nil {
		return s, nil
	}
	node := id.node(l.opt.Node, l.opt.Host)
	if err := xdr.CheckName(node); err != nil {
		return nil, fmt.Errorf("node %s: %w", safetext.Quote(node), err)
	}
	if s = l.byNode[node]; s == nil {
		s = &stream{node: node}
		l.byNode[node] = s
		l.streams = append(l.streams, s)
	}
	l.byKey[key] = s
	return s, nil
}

// stuck is how long Run waits, once its context has ended, for a read to end.
const stuck = 200 * time.Millisecond

// Run reads until ctx ends, or standard input does. What goes wrong with the
// input is logged, and tried again. It is called once.
//
// A read that cannot be interrupted, of standard input or on a dead file system,
// does not hold it up, and is left to itself.
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

// line takes a line. The caller holds l.mu.
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
		l.bad(err)
		return
	}
	if !slices.Contains(l.opt.Statuses, int(e.status)) {
		return
	}
	w := e.time / l.window
	switch {
	case w < l.next:
		l.own.late++
		return
	case w > l.now+1:
		l.bad(errFuture)
		return
	}
	// What a client has put behind a question mark names nothing.
	path, _, _ := bytes.Cut(e.url, []byte("?"))
	s := l.stream(path)
	if s == nil {
		l.own.unmatched++
		return
	}
	c := &s.counts[w%slots]
	c.requests++
	c.bytes += float64(e.bytes)
	l.scratch = append(append(append(l.scratch[:0], e.client...), 0), e.ua...)
	c.clients.add(maphash.Bytes(l.seed, l.scratch))
	l.seen[w%slots] = true
}

// stream returns the stream of a URL, or nil.
func (l *Log) stream(url []byte) *stream {
	id, ok := l.match(url)
	if !ok {
		return nil
	}
	l.scratch = id.appendKey(l.scratch[:0])
	s := l.byKey[string(l.scratch)]
	if s != nil || !l.learn || len(l.byKey) >= MaxStreams || len(l.scratch) > maxKey || !printable(l.scratch) {
		return s
	}
	s, err := l.addStream(id)
	if err != nil {
		return nil
	}
	return s
}

// maxKey is the length in bytes of the longest identity that is taken from a
// log.
const maxKey = 200

// printable reports whether an identity, with its zeros between the parts, can
// be shown.
func printable(key []byte) bool {
	return utf8.Valid(key) && !slices.ContainsFunc(key, func(c byte) bool { return c < ' ' && c != 0 || c == 0x7f })
}

// bad counts a line that cannot be used. The caller holds l.mu, and logs it
// later.
func (l *Log) bad(err error) {
	l.own.bad++
	l.culprit = err
}

// logBad logs what was wrong with a line, once a minute. The caller holds no
// lock, and is the one that reads.
func (l *Log) logBad(err error) {
	if now := time.Now(); err != nil && now.Sub(l.told) >= time.Minute {
		l.told = now
		l.opt.Logger.Warn("line of access log not used", slog.String("input", l.name), slog.String("error", err.Error()))
	}
}

// Messages sends what there is of the windows that are over by now, see
// [apmon.Messenger].
func (l *Log) Messages(ctx context.Context, send func(apmon.Message) error) error {
	l.look()
	l.mu.Lock()
	results := l.results
	l.results = nil
	l.mu.Unlock()
	var first error
	failed := 0
	for _, r := range results {
		at := time.Unix(r.window*l.window, 0)
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
			try(s.node, []apmon.Param{
				apmon.Float("client_count", s.clients),
				apmon.Float("bytes_sent", s.bytes),
				apmon.Float("bytes_sent_R", s.bytes/float64(l.window)),
				apmon.Float("requests", s.requests),
				apmon.Float("requests_R", s.requests/float64(l.window)),
			})
		}
		try(l.opt.Host, []apmon.Param{
			apmon.Float("unmatched", r.own.unmatched),
			apmon.Float("late", r.own.late),
			apmon.Float("bad_lines", r.own.bad),
			apmon.Float("windows_lost", r.own.lost),
			apmon.Float("truncated", r.own.truncated),
		})
	}
	if first != nil {
		return fmt.Errorf("accesslog: %d messages not sent: %w", failed, first)
	}
	return nil
}
