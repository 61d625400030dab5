package apmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/apmon-go/apmon/conf"
)

// maxLogged is how many bad lines of a source are logged; Stats has them all.
const maxLogged = 10

// source is one source of configuration, and what is known of it. The client's
// reload lock guards it.
type source struct {
	reader *conf.Reader
	config conf.Config   // the last good one
	have   bool          // there is one
	next   time.Duration // on the client's clock: when to look again
	stats  SourceStats
	inRow  int // failures since the last success
}

// Open makes a client of configuration sources and follows them: each is a
// file, a folder of files *.conf, a URL (http or https), a comma-separated list
// of "host[:port][ password]", or another dialect of APMON_CONFIG, see
// [conf.ParseSources]. With no source they are those of the environment, see
// [conf.FromEnv].
//
// All are read at once, for 5 s at most (with [WithFallback] 5 s for each) or
// until ctx ends; what could be read is merged, and its names are looked up, for
// 5 s at most. The error, if none yields a
// destination, says for each source why.
//
// Files and URLs are looked at again at their recheck_interval (every 600 s by
// default, never more often than 30 s), by content, ETag and Last-Modified,
// with jitter, and ever more seldom while they fail. A new configuration is
// parsed whole and swapped in one step: no message is lost or sent twice, and
// destinations that stay keep sequence numbers, sockets and counters. (If no
// destination of a new configuration resolves, the old one stays in force until
// one does, and all sources are looked at again every minute or so.) A source
// that fails, or says nothing, keeps its last good destinations; [Client.Stats]
// and the log say so.
func Open(ctx context.Context, sources ...string) (*Client, error) {
	return OpenWith(ctx, sources)
}

// OpenWith is [Open] with options.
func OpenWith(ctx context.Context, sources []string, opts ...Option) (*Client, error) {
	var all []conf.Source
	if len(sources) == 0 {
		var err error
		if all, err = conf.FromEnv(os.Getenv, conf.SystemFile); err != nil {
			return nil, fmt.Errorf("apmon: %w", err)
		}
	}
	for _, s := range sources {
		more, err := conf.ParseSources("list", s)
		if err != nil {
			more = []conf.Source{conf.Broken("list", err)} // the others may do
		}
		all = append(all, more...)
	}
	return OpenSources(ctx, all, opts...)
}

// OpenSources is [Open] for sources as package conf makes them.
func OpenSources(ctx context.Context, sources []conf.Source, opts ...Option) (*Client, error) {
	c, err := newClient(opts)
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		c.sources = append(c.sources, &source{
			reader: &conf.Reader{Source: s, Lookup: KnownOption, Directives: c.opt.directives, Transport: c.opt.transport},
			stats:  SourceStats{Name: s.Name},
		})
	}
	if !c.opt.background { // else every source is due at once
		err = c.recheck(ctx, c.sources)
		if len(c.set.Load().targets) == 0 && !c.opt.startEmpty {
			c.Close()
			if err == nil {
				return nil, ErrNoDestination
			}
			return nil, fmt.Errorf("apmon: %w", err)
		}
	}
	if len(sources) == 0 {
		c.isReady()
	}
	c.wg.Go(c.watch)
	return c, nil
}

// Ready waits until the sources have been looked at for the first time, and
// names looked up, whatever came of it: that may still be under way with
// [WithOpenInBackground]. The error is [ErrClosed], or the context's.
func (c *Client) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reload looks at all sources of [Open] at once, whether it is time or not, and
// returns when what they say is in force. The error joins those of the sources
// that failed; they keep their last good destinations. A client of [New] has
// no sources, and neither has one after [Client.SetDestinations].
func (c *Client) Reload(ctx context.Context) error {
	return c.exclusively(ctx, func(ctx context.Context) error {
		err := c.recheck(ctx, c.sources)
		c.lookAgain(true)
		return err
	})
}

// exclusively calls f while nobody else changes the configuration, with a context
// that also ends when the client is closed.
func (c *Client) exclusively(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, stop := c.untilClosed(ctx)
	defer stop()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case c.reload <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.reload }()
	if c.closed.Load() {
		return ErrClosed
	}
	err := f(ctx)
	select {
	case c.rearm <- struct{}{}:
	default: // it has been told already
	}
	return err
}

// untilClosed returns a context that also ends when the client is closed.
func (c *Client) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Configs returns the configurations in force, one for each source. They must
// not be changed.
func (c *Client) Configs() []conf.Config { return c.set.Load().configs }

// watch looks at each source when it is time.
func (c *Client) watch() {
	for {
		t := time.NewTimer(c.untilDue())
		select {
		case <-c.ctx.Done():
			t.Stop()
			return
		case <-c.rearm:
			t.Stop()
			continue
		case <-t.C:
		}
		c.recheckDue()
	}
}

// recheckDue looks at the sources whose time has come.
func (c *Client) recheckDue() {
	c.reload <- struct{}{}
	defer func() { <-c.reload }()
	var due []*source
	for _, s := range c.sources {
		if c.now() >= s.next {
			due = append(due, s)
		}
	}
	_ = c.recheck(c.ctx, due) // logged, and counted
	c.lookAgain(false)
}

// untilDue is how long nothing is to be done.
func (c *Client) untilDue() time.Duration {
	c.reload <- struct{}{}
	defer func() { <-c.reload }()
	next := never
	for _, s := range c.sources {
		next = min(next, s.next)
	}
	return max(0, next-c.now())
}

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

// recheck reads sources and, if they say anything new, swaps the set. The error
// joins those of the sources. The caller holds c.reload.
func (c *Client) recheck(ctx context.Context, sources []*source) error {
	changed, err := c.read(ctx, sources)
	if err == ErrClosed {
		return err // nothing failed
	}
	if changed || c.pending {
		err = errors.Join(err, c.applySources(ctx))
	}
	c.isReady()
	return err
}

// applySources puts in force what the sources say, as far as that can be used:
// else it is tried again with their next reading, or soon if only the names do
// not resolve. The caller holds c.reload.
func (c *Client) applySources(ctx context.Context) error {
	var configs []conf.Config
	for _, s := range c.sources {
		if s.have {
			configs = append(configs, s.config)
		}
	}
	err := c.apply(ctx, configs)
	c.pending = err != nil
	if err != nil {
		c.opt.logger.LogAttrs(ctx, slog.LevelWarn, "new configuration not in force", slog.String("error", err.Error()))
	}
	if !errors.Is(err, errUnresolved) {
		return err
	}
	for _, s := range c.sources {
		s.next = min(s.next, c.now()+conf.MinRecheck+time.Duration(rand.Int64N(int64(conf.MinRecheck))))
	}
	return nil
}

// read reads sources, notes what came of them, and reports whether they say
// anything new. The error joins theirs. The caller holds c.reload.
func (c *Client) read(ctx context.Context, sources []*source) (changed bool, err error) {
	fallback := -1 // or the one that LoadAny has chosen
	var loaded []conf.Loaded
	readers := make([]*conf.Reader, len(sources))
	for i, s := range sources {
		readers[i] = s.reader
	}
	if c.opt.fallback {
		if used := c.used(); used != nil {
			// One is in use, and stays: only it is read again.
			sources, readers = []*source{used}, []*conf.Reader{used.reader}
			loaded = conf.Load(ctx, readers)
		} else {
			fallback, loaded = conf.LoadAny(ctx, readers)
		}
	} else {
		loaded = conf.Load(ctx, readers)
	}
	if context.Cause(ctx) == ErrClosed || c.ctx.Err() != nil {
		return false, ErrClosed
	}
	var errs []error
	for i, s := range sources {
		l := &loaded[i]
		if fallback >= 0 && i != fallback && l.Err == nil {
			continue // it was not read
		}
		if l.Err != nil && ctx.Err() != nil {
			errs = append(errs, l.Err) // the caller's fault, not the source's
			continue
		}
		changed = c.took(s, l) || changed
		if l.Err != nil {
			errs = append(errs, l.Err)
		}
	}
	if c.opt.fallback && c.used() != nil {
		// From now on only the one in use is read again.
		for _, s := range c.sources {
			if !s.have {
				s.next = never
			}
		}
	}
	all := make([]SourceStats, len(c.sources))
	for i, s := range c.sources {
		all[i] = s.stats
	}
	c.sourceStats.Store(&all)
	return changed, errors.Join(errs...)
}

// lookAgain has names looked up that were not looked up lately; those that fail
// only if asked to, as they have times of their own. Nobody waits.
func (c *Client) lookAgain(failed bool) {
	s := c.set.Load()
	for _, t := range s.targets {
		t.lookAgain(c.now(), failed)
	}
	c.startLookups(s, nil)
}

// used returns the source in use, nil if there is none.
func (c *Client) used() *source {
	for _, s := range c.sources {
		if s.have {
			return s
		}
	}
	return nil
}

// took notes what came of a source, and returns whether it says anything new.
func (c *Client) took(s *source, l *conf.Loaded) (changed bool) {
	s.stats.Reads++
	if l.Err != nil {
		s.inRow++
		s.stats.Failures++
		if s.inRow == 1 {
			c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "configuration not loaded",
				slog.String("source", s.stats.Name), slog.String("error", l.Err.Error()), slog.Bool("last_good_kept", s.have))
		}
		s.stats.LastError = l.Err.Error()
	} else {
		changed = !s.have || !s.config.Equal(l.Config)
		if s.inRow > 0 {
			c.opt.logger.LogAttrs(context.Background(), slog.LevelInfo, "configuration loaded again", slog.String("source", s.stats.Name))
		}
		s.inRow = 0
		s.stats.LastError = ""
		s.stats.Loaded = time.Now()
		s.config, s.have = l.Config, true
		s.stats.Destinations = len(l.Config.Destinations)
	}
	if l.Changed {
		s.stats.Problems = s.stats.Problems[:0:0]
		for i, p := range l.Problems {
			s.stats.Problems = append(s.stats.Problems, p.Error())
			if i < maxLogged {
				c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "configuration line not used", slog.String("problem", p.Error()))
			}
		}
		if more := len(l.Problems) - maxLogged; more > 0 {
			c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "more configuration lines not used",
				slog.String("source", s.stats.Name), slog.Int("lines", more))
		}
	}
	s.next = c.now() + s.wait()
	if s.reader.Source.Static() || s.have && !s.config.Recheck.Or(true) {
		s.next = never
	}
	return changed
}

// wait is how long to leave the source alone: its interval, or after failures
// ever longer; and some more or less, so that a farm does not ask a server in
// step.
func (s *source) wait() time.Duration {
	interval := s.config.RecheckInterval
	if interval == 0 {
		interval = conf.DefaultRecheck
	}
	interval = max(interval, conf.MinRecheck)
	if s.inRow > 0 {
		if !s.have {
			interval = conf.MinRecheck // somebody waits for it
		}
		interval = backoff(interval, s.inRow)
	}
	return spread(interval, conf.MinRecheck)
}
