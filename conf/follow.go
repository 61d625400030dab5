package conf

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/internal/backoff"
)

// ParseSources returns the sources that strings name: each is a file, a folder
// of files *.conf, a URL (http or https), a comma-separated list of
// "host[:port][ password]", or another dialect of APMON_CONFIG, see [ParseSource].
// With no string, the sources are those of the environment, see [FromEnv].
//
// A string that cannot be parsed becomes a [Broken] source, so that the others
// are still used.
func ParseSources(names ...string) []Source {
	if len(names) == 0 {
		sources, err := FromEnv(os.Getenv, SystemFile)
		if err != nil {
			return []Source{Broken("environment", err)}
		}
		return sources
	}
	var all []Source
	for _, s := range names {
		sources, err := ParseSource("list", s)
		if err != nil {
			sources = []Source{Broken("list", err)}
		}
		all = append(all, sources...)
	}
	return all
}

// Fixed is a source that always yields the given configuration. Its name is
// c.Source.
func Fixed(c Config) Source { return Source{Name: c.Source, kind: fixed, config: &c} }

// maxLogged is the number of bad lines of a source that are logged;
// [SourceStats] has them all.
const maxLogged = 10

// SourceStats is the state of one source of configuration.
type SourceStats struct {
	Name         string    // path, URL without its password, or variable
	Destinations int       // in the last good configuration
	Reads        uint64    // times the source was read
	Failures     uint64    // of these reads: unreadable, or without a destination
	LastError    string    // of the last read; empty if it succeeded
	Loaded       time.Time // of the last good read; zero for none
	Problems     []string  // lines that could not be used, as SOURCE:LINE: message
}

// FollowOptions are the settings of a [Follower].
type FollowOptions struct {
	// Lookup and Directives are passed to each [Reader].
	Lookup     OptionLookup
	Directives []Directive
	// Transport fetches URLs; nil for the default one.
	Transport http.RoundTripper
	// Fallback uses one source only: the first, in random order, that yields a
	// destination. By default all sources are used.
	Fallback bool
	// Logger receives problems of sources; nil for none.
	Logger *slog.Logger
	// Apply puts the last good configurations in force, in the order of their
	// sources. A source that was never good has none. Apply is called when a
	// configuration has changed, and again after it returned an error. It is
	// never called concurrently.
	//
	// After an error the next call is at the next read of a source. If the error
	// wraps [ErrRetrySoon], the next call is within a minute, and
	// [Follower.Reload] does not return the error.
	Apply func(ctx context.Context, configs []Config) error
}

var (
	// ErrRetrySoon is for errors of [FollowOptions.Apply] that are likely to
	// disappear soon.
	ErrRetrySoon = errors.New("try again soon")
	// ErrStopped: the follower is closed.
	ErrStopped = errors.New("configuration is no longer followed")
)

// Follower reads sources of configuration repeatedly and applies changes. A source
// that fails keeps its last good configuration.
//
// It starts no goroutine: its owner calls [Follower.Recheck] at the time that
// [Follower.Due] returns.
type Follower struct {
	opt FollowOptions

	// lock holds a token while sources are read and applied. It is a channel
	// because waiting for a mutex does not end with a context.
	lock    chan struct{}
	sources []*followed
	pending bool // the last good configurations are not in force
	stopped atomic.Bool

	due   atomic.Pointer[time.Time] // the zero time for never
	stats atomic.Pointer[[]SourceStats]

	ready   chan struct{}
	isReady func() // closes ready once
}

// followed is one source and its state.
type followed struct {
	reader   *Reader
	config   Config    // the last good one
	have     bool      // config is valid
	next     time.Time // when to read it again; zero for never
	failures int       // since the last success
	stats    SourceStats
}

// NewFollower returns a follower of sources. It reads none of them; all are due at
// once. With no source the follower is ready.
func NewFollower(sources []Source, opt FollowOptions) *Follower {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{opt: opt, lock: make(chan struct{}, 1), ready: make(chan struct{})}
	f.isReady = sync.OnceFunc(func() { close(f.ready) })
	now := time.Now()
	for _, s := range sources {
		f.sources = append(f.sources, &followed{
			reader: &Reader{Source: s, Lookup: opt.Lookup, Directives: opt.Directives, Transport: opt.Transport},
			next:   now,
			stats:  SourceStats{Name: s.Name},
		})
	}
	if len(sources) == 0 {
		f.isReady()
	}
	f.publish()
	return f
}

// Ready returns a channel that is closed when all sources have been read once
// and applied, whether that succeeded or not.
func (f *Follower) Ready() <-chan struct{} { return f.ready }

// Due returns the time at which a source is due, the zero time for never. It
// changes only during [Follower.Reload], [Follower.Recheck] and
// [Follower.Replace], and does not wait for them.
func (f *Follower) Due() time.Time { return *f.due.Load() }

// Stats returns the state of each source. It does not wait for a reload.
func (f *Follower) Stats() []SourceStats {
	all := slices.Clone(*f.stats.Load())
	for i := range all {
		all[i].Problems = slices.Clone(all[i].Problems)
	}
	return all
}

// Reload reads all sources, whether they are due or not, and returns when they
// have been applied. The error joins those of the sources that failed, or is that
// of [FollowOptions.Apply] or of the context, or [ErrStopped].
func (f *Follower) Reload(ctx context.Context) error {
	return f.exclusively(ctx, func() error { return f.recheck(ctx, f.sources) })
}

// Recheck is [Follower.Reload] for the sources that are due.
func (f *Follower) Recheck(ctx context.Context) error {
	return f.exclusively(ctx, func() error {
		var due []*followed
		now := time.Now()
		for _, s := range f.sources {
			if !s.next.IsZero() && !now.Before(s.next) {
				due = append(due, s)
			}
		}
		if len(due) == 0 {
			return nil
		}
		return f.recheck(ctx, due)
	})
}

// Replace calls apply while nothing else changes the configuration. If apply
// returns nil, the sources are no longer followed.
func (f *Follower) Replace(ctx context.Context, apply func() error) error {
	return f.exclusively(ctx, func() error {
		if err := apply(); err != nil {
			return err
		}
		f.sources, f.pending = nil, false
		f.isReady()
		return nil
	})
}

// Close waits for a read under way; end its context first. Later reads return
// [ErrStopped].
func (f *Follower) Close() {
	f.stopped.Store(true)
	f.lock <- struct{}{}
	<-f.lock
}

// exclusively calls do while no other call changes the configuration.
func (f *Follower) exclusively(ctx context.Context, do func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case f.lock <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() {
		f.publish()
		<-f.lock
	}()
	if f.stopped.Load() {
		return ErrStopped
	}
	return do()
}

// publish stores the results of [Follower.Due] and [Follower.Stats].
func (f *Follower) publish() {
	var due time.Time
	stats := make([]SourceStats, len(f.sources))
	for i, s := range f.sources {
		stats[i] = s.stats
		if !s.next.IsZero() && (due.IsZero() || s.next.Before(due)) {
			due = s.next
		}
	}
	f.due.Store(&due)
	f.stats.Store(&stats)
}

// recheck reads sources and applies changes. The caller holds f.lock.
func (f *Follower) recheck(ctx context.Context, sources []*followed) error {
	changed, err := f.read(ctx, sources)
	if err == ErrStopped {
		return err
	}
	f.publish() // Apply may take its time
	if changed || f.pending {
		err = errors.Join(err, f.apply(ctx))
	}
	f.isReady()
	return err
}

// apply puts the last good configurations in force. The caller holds f.lock.
func (f *Follower) apply(ctx context.Context) error {
	var configs []Config
	for _, s := range f.sources {
		if s.have {
			configs = append(configs, s.config)
		}
	}
	err := f.opt.Apply(ctx, configs)
	f.pending = err != nil
	if err != nil && !f.stopped.Load() {
		f.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "new configuration not in force", slog.String("error", err.Error()))
	}
	if !errors.Is(err, ErrRetrySoon) {
		return err
	}
	for _, s := range f.sources {
		soon := time.Now().Add(MinRecheck + time.Duration(rand.Int64N(int64(MinRecheck))))
		if s.next.IsZero() || soon.Before(s.next) {
			s.next = soon
		}
	}
	return nil
}

// read reads sources, records the results, and reports whether any is new.
// The error joins those of the sources. The caller holds f.lock.
func (f *Follower) read(ctx context.Context, sources []*followed) (changed bool, err error) {
	chosen := -1 // by LoadAny
	var loaded []Loaded
	if used := f.used(); f.opt.Fallback && used == nil {
		chosen, loaded = LoadAny(ctx, readers(sources))
	} else {
		if f.opt.Fallback { // one source is in use: only that one is read again
			sources = []*followed{used}
		}
		loaded = Load(ctx, readers(sources))
	}
	if f.stopped.Load() {
		return false, ErrStopped
	}
	var errs []error
	for i, s := range sources {
		l := &loaded[i]
		if chosen >= 0 && i != chosen && l.Err == nil {
			continue // it was not read
		}
		if l.Err != nil {
			errs = append(errs, l.Err)
			if ctx.Err() != nil {
				continue // the caller gave up; the source did not fail
			}
		}
		changed = f.note(s, l) || changed
	}
	if f.opt.Fallback && f.used() != nil {
		for _, s := range f.sources {
			if !s.have {
				s.next = time.Time{}
			}
		}
	}
	return changed, errors.Join(errs...)
}

func readers(sources []*followed) []*Reader {
	all := make([]*Reader, len(sources))
	for i, s := range sources {
		all[i] = s.reader
	}
	return all
}

// used returns the first source with a good configuration, or nil.
func (f *Follower) used() *followed {
	for _, s := range f.sources {
		if s.have {
			return s
		}
	}
	return nil
}

// note records the result of reading a source, sets when to read it again, and
// reports whether its configuration is new.
func (f *Follower) note(s *followed, l *Loaded) (changed bool) {
	s.stats.Reads++
	if l.Err != nil {
		s.failures++
		s.stats.Failures++
		if s.failures == 1 {
			f.warn("configuration not loaded", slog.String("source", s.stats.Name),
				slog.String("error", l.Err.Error()), slog.Bool("last_good_kept", s.have))
		}
		s.stats.LastError = l.Err.Error()
	} else {
		changed = !s.have || !s.config.Equal(l.Config)
		if s.failures > 0 {
			f.opt.Logger.LogAttrs(context.Background(), slog.LevelInfo, "configuration loaded again", slog.String("source", s.stats.Name))
		}
		s.failures = 0
		s.stats.LastError = ""
		s.stats.Loaded = time.Now()
		s.config, s.have = l.Config, true
		s.stats.Destinations = len(l.Config.Destinations)
	}
	if l.Changed {
		f.noteProblems(s, l.Problems)
	}
	s.next = time.Now().Add(s.wait())
	if s.reader.Source.Static() || s.have && !s.config.Recheck.Or(true) {
		s.next = time.Time{}
	}
	return changed
}

func (f *Follower) noteProblems(s *followed, problems []Problem) {
	s.stats.Problems = nil
	for i, p := range problems {
		s.stats.Problems = append(s.stats.Problems, p.Error())
		if i < maxLogged {
			f.warn("configuration line not used", slog.String("problem", p.Error()))
		}
	}
	if more := len(problems) - maxLogged; more > 0 {
		f.warn("more configuration lines not used", slog.String("source", s.stats.Name), slog.Int("lines", more))
	}
}

func (f *Follower) warn(message string, attrs ...slog.Attr) {
	f.opt.Logger.LogAttrs(context.Background(), slog.LevelWarn, message, attrs...)
}

// wait returns the time until the next read: the interval of the source, doubled
// with each failure, with some jitter.
func (s *followed) wait() time.Duration {
	interval := s.config.RecheckInterval
	if interval == 0 {
		interval = DefaultRecheck
	}
	interval = max(interval, MinRecheck)
	if s.failures > 0 {
		if !s.have {
			interval = MinRecheck // the program cannot send without it
		}
		interval = backoff.After(interval, s.failures)
	}
	return backoff.Spread(interval, MinRecheck)
}
