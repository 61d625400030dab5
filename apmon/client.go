package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// Client sends to a set of destinations. Make one with [New] or [Open].
type Client struct {
	opt      *settings
	sender   sender // with the limiter and the network
	follower *conf.Follower
	schedule *schedule.Scheduler
	reporter reporter
	host     host
	jobs     jobs

	benchmarks benchmarks
	configs    atomic.Pointer[[]conf.Config] // in force
	groups     *groups                       // in force; used only by apply, which is never called concurrently
	cancel     context.CancelCauseFunc       // ends look-ups, reports and the wait for the rate limit
	close      sync.Once
}

// New makes a client of a configuration. It looks all names up, in parallel
// and for 5 s at most (or until the context of [WithContext] ends), so that
// the first messages already have addresses. A name that is not found by then is
// looked up again later.
//
// The error names the destination or the setting that cannot be used; it wraps
// [ErrNoDestination] if there is no destination. A name that does not resolve and a
// host that refuses datagrams are not errors of New: see [Client.Send] and
// [Client.Stats].
func New(cfg conf.Config, opts ...Option) (*Client, error) {
	opt, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	if err := refuse(opt.forOpen, "New"); err != nil {
		return nil, err
	}
	if cfg, err = checked(cfg); err != nil {
		return nil, err
	}
	c, err := newClient(opt, nil)
	if err != nil {
		return nil, err
	}
	ctx := opt.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	if err := c.apply(ctx, []conf.Config{cfg}); err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	return c, nil
}

// Open makes a client of configuration sources and follows them: each string is
// a file, a folder of files *.conf, a URL (http or https), a comma-separated list
// of "host[:port][ password]", or another dialect of APMON_CONFIG, see
// [conf.ParseSources]. With no string the sources are those of the environment,
// see [conf.FromEnv].
//
// All are read at once, for 5 s at most (with Fallback 5 s for each) or until
// ctx ends. Their configurations are merged, and their names are looked up, for
// 5 s at most. The error, if no source yields a destination, gives the reason for
// each source.
//
// Files and URLs are read again at their recheck_interval (every 600 s by
// default, never more often than 30 s), with jitter, and less and less often
// while they fail. Changes are detected by content, ETag and Last-Modified. A new
// configuration is parsed whole and swapped in one step: no message is lost or
// sent twice, and destinations that stay keep sequence numbers, sockets and
// counters. (If no destination of a new configuration resolves, the old one stays
// in force until one does, and all sources are read again every minute or so.) A
// source that fails or names no destination keeps its last good configuration;
// [Client.Stats] and the log report it.
func Open(ctx context.Context, sources ...string) (*Client, error) {
	return OpenSources(ctx, conf.ParseSources(sources...))
}

// OpenSources is [Open] with sources as values, such as those of
// [conf.ParseSources], and with options.
func OpenSources(ctx context.Context, sources []conf.Source, opts ...Option) (*Client, error) {
	opt, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	if err := refuse(opt.forNew, "Open"); err != nil {
		return nil, err
	}
	c, err := newClient(opt, sources)
	if err != nil {
		return nil, err
	}
	if !opt.OpenInBackground { // else every source is due at once
		err = c.follower.Reload(ctx)
		if len(c.sender.network.set.Load().targets) == 0 && !opt.StartEmpty {
			c.Close()
			if err == nil {
				return nil, ErrNoDestination
			}
			return nil, fmt.Errorf("apmon: %w", err)
		}
	}
	c.schedule.Add(&schedule.Task{Name: "configuration", Due: c.follower.Due, Run: func(ctx context.Context) error {
		err := c.follower.Recheck(ctx)
		c.sender.network.lookAgain(false)
		return err
	}})
	return c, nil
}

// newClient makes a client without destinations.
func newClient(opt *settings, sources []conf.Source) (*Client, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Client{opt: opt, cancel: cancel, groups: new(groups)}
	c.sender.init(ctx, opt, newInstance())
	c.schedule = schedule.New(ctx, func(e schedule.Event) { logRun(opt.logger, e) })
	c.reporter = reporter{&c.sender, c.schedule, opt.logger}
	c.jobs.reporter, c.jobs.benchmarks = &c.reporter, &c.benchmarks
	c.host.init(&c.reporter, &c.benchmarks, nodeName{opt.HostCluster, opt.HostNode})
	c.host.self = c.self
	c.host.processes = procinfo.NewProcesses(procinfo.DefaultFS(os.Getenv))
	c.jobs.processes = c.host.processes
	c.follower = conf.NewFollower(sources, conf.FollowOptions{
		Lookup: KnownOption, Directives: opt.Directives, Transport: opt.transport, Fallback: opt.Fallback, Logger: opt.logger,
		Apply: c.apply,
	})
	c.configs.Store(new([]conf.Config))
	var empty []conf.Config
	if opt.tap != nil {
		empty = []conf.Config{{}} // the tap gets reports without any destination
	}
	options, err := opt.monitoring(empty)
	if err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	c.regroup(newGroups(empty, options, c.groups))
	return c, nil
}

// newInstance returns a random 31-bit id. Receivers distinguish senders by it,
// IPv6 ones by almost nothing else, so that each client has one of its own. The
// runtime seeds the generator with random bytes of the kernel, so that programs
// started at the same time differ. It makes no system call, unlike crypto/rand,
// the first call of which takes as long as the rest of sending one message.
func newInstance() int32 { return rand.Int32() }

// checked returns a copy of a configuration made by a program, after checking
// it.
func checked(cfg conf.Config) (conf.Config, error) {
	if len(cfg.Destinations) == 0 {
		return cfg, fmt.Errorf("%w in the configuration", ErrNoDestination)
	}
	if err := checkContent(cfg); err != nil {
		return cfg, fmt.Errorf("apmon: %w", err)
	}
	cfg.Destinations, cfg.Switches = slices.Clone(cfg.Destinations), maps.Clone(cfg.Switches)
	return cfg, nil
}

// unresolvedError is the error if none of the new destinations has an address. It
// holds their names.
type unresolvedError string

func (e unresolvedError) Error() string {
	return "no new destination resolves, so the old ones stay: " + string(e)
}

func (unresolvedError) Is(target error) bool { return target == conf.ErrRetrySoon }

// apply puts configurations in force: destinations, rate and reports. Look-ups
// take 5 s at most, or until ctx ends. The error is an unresolvedError, or names a
// setting of Adjust or AdjustSource; then nothing changes.
func (c *Client) apply(ctx context.Context, configs []conf.Config) error {
	if c.sender.closed.Load() {
		return ErrClosed
	}
	var all conf.Config
	for _, cfg := range configs {
		all.Merge(cfg)
	}
	if c.opt.Adjust != nil {
		c.opt.Adjust(&all)
		if err := checkContent(all); err != nil {
			return err
		}
	}
	options, err := c.opt.monitoring(configs)
	if err != nil {
		return err
	}
	next := newGroups(configs, options, c.groups)
	tags := map[string]tag{} // the tag of the first source that names the destination
	for i, cfg := range configs {
		for _, cd := range cfg.Destinations {
			if name := cd.Name(); tags[name] == 0 {
				tags[name] = next.all[i].tag
			}
		}
	}
	tagOf := func(name string) tag {
		if tags[name] == 0 && len(next.all) > 0 {
			tags[name] = next.all[0].tag // added by Adjust
		}
		return tags[name]
	}
	if names, ok := c.sender.network.change(ctx, all.Destinations, len(c.sender.tap.prefix), tagOf); !ok {
		return unresolvedError(names)
	}
	c.sender.limiter.setMax(cmp.Or(all.MaxMsgRate, DefaultRate))
	c.configs.Store(&configs)
	c.regroup(next)
	return nil
}

// regroup puts the groups of report options in force.
func (c *Client) regroup(next *groups) {
	used := map[tag]bool{}
	for _, t := range c.sender.network.set.Load().targets {
		used[t.tag] = true
	}
	next.want(func(g *group) bool { return c.opt.tap != nil || used[g.tag] })
	c.groups = next
	c.host.follow(next)
	c.jobs.follow(next)
}

// self returns the sender's own statistics; ms is the duration of the last sample
// of the host.
func (c *Client) self(ms float64) *procinfo.Self {
	skipped, failures := c.schedule.Totals()
	n, count := &c.sender.network, &c.sender.counters
	dropped := count.rateLimited.Load() + n.unsent.Load() + skipped
	errs := count.badParams.Load() + n.refused.Load() + failures
	for _, s := range c.follower.Stats() {
		errs += s.Failures
	}
	return &procinfo.Self{
		Sent:     procinfo.Known(float64(n.sent.Load())),
		Dropped:  procinfo.Known(float64(dropped)),
		Errors:   procinfo.Known(float64(errs)),
		SampleMS: procinfo.Known(ms),
		RSS:      procinfo.SelfRSS(),
	}
}

// Close makes the last reports of the jobs, for half a second at most; it skips jobs
// that were reported less than a second ago. It then ends monitoring and look-ups,
// closes the sockets, and waits for look-ups and reports under way, for half a
// second at most. A later Send returns [ErrClosed]. Close may be called more than
// once; it returns nil.
func (c *Client) Close() error {
	c.close.Do(func() {
		c.jobs.lastReports(c.sender.network.ctx)
		c.sender.closed.Store(true)
		c.Probe()
		c.cancel(ErrClosed) // also ends a reload under way
		c.follower.Close()
		c.sender.network.close()
		c.jobs.close()
		c.schedule.Close()
		c.host.processes.Close()
	})
	return nil
}

// Probe checks every socket, without waiting, for a refusal of earlier datagrams,
// and counts it in [DestinationStats.Refused]. Without Probe only the next Send
// notices a refusal.
func (c *Client) Probe() { c.sender.network.probe() }

// Ready waits until the sources have been read for the first time and their names
// looked up, whether that succeeded or not. With OpenInBackground this may still be
// under way after Open. The error is [ErrClosed] or that of the context.
func (c *Client) Ready(ctx context.Context) error {
	select {
	case <-c.follower.Ready():
		return nil
	case <-c.sender.network.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reload reads all sources of [Open] at once, whether they are due or not, and
// returns when their configurations are in force. The error joins those of the
// sources that failed, which keep their last good destinations. A client of
// [New] has no sources, nor has a client after [Client.SetDestinations].
func (c *Client) Reload(ctx context.Context) error {
	return c.changed(ctx, func(ctx context.Context) error {
		err := c.follower.Reload(ctx)
		if err == nil || ctx.Err() == nil {
			c.sender.network.lookAgain(true)
		}
		return err
	})
}

// changed calls f, which changes the configuration, with a context that also
// ends when the client is closed.
func (c *Client) changed(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, stop := c.schedule.Bound(ctx)
	defer stop()
	err := f(ctx)
	c.schedule.Wake()
	if errors.Is(err, conf.ErrStopped) {
		return ErrClosed
	}
	return err
}

// Configs returns the configurations in force, one for each source. They must
// not be changed.
func (c *Client) Configs() []conf.Config { return *c.configs.Load() }

// SetDestinations replaces the configuration in force by cfg: destinations, rate,
// intervals and switches. Destinations that stay keep sequence numbers, sockets and
// counters, and the client keeps its instance id; no message is lost or sent twice.
// Sources of [Open] are no longer followed.
//
// It returns when new names have been looked up, after 5 s at most. The error is
// that of New, [ErrClosed], or wraps [ErrNoDestination] if none of the new names
// resolves while a destination in force has an address; then nothing changes.
func (c *Client) SetDestinations(cfg conf.Config) error {
	cfg, err := checked(cfg)
	if err != nil {
		return err
	}
	return c.changed(context.Background(), func(ctx context.Context) error {
		return c.follower.Replace(ctx, func() error {
			switch err := c.apply(ctx, []conf.Config{cfg}); {
			case errors.Is(err, conf.ErrRetrySoon):
				return fmt.Errorf("%w: %w", ErrNoDestination, err)
			case err != nil && err != ErrClosed:
				return fmt.Errorf("apmon: %w", err)
			default:
				return err
			}
		})
	})
}

// SetMaxMsgRate sets the rate limit in datagrams a second. It overrides that of
// configurations, also after a reload; 0 removes the override. It also applies to
// messages that wait for the limit. A rate that is negative, infinite or NaN is an error.
func (c *Client) SetMaxMsgRate(rate float64) error {
	if err := checkRate(rate); err != nil {
		return fmt.Errorf("apmon: %w", err)
	}
	c.sender.limiter.setOverride(rate)
	return nil
}

// SetHostReportNames sets the cluster and the node of the reports on this host from
// the next report on. An empty argument means the default, see
// [Options.HostCluster]. The error names a name that cannot be sent.
func (c *Client) SetHostReportNames(cluster, node string) error {
	to := nodeName{cmp.Or(cluster, DefaultHostCluster), node}
	if err := c.sender.check(&Message{Cluster: to.cluster, Node: to.node}); err != nil {
		return err
	}
	c.host.names.Store(&to)
	return nil
}

// SetBenchmark sets the result of a benchmark for one CPU: "ksi2k", "db12", "hep06"
// or "hs23". The client reports it, and the times of jobs multiplied by it.
func (c *Client) SetBenchmark(name string, factor float64) error {
	return c.benchmarks.set(name, factor)
}

// Stats returns a copy of the counters. It may be called at any time, also
// after Close.
func (c *Client) Stats() Stats {
	count := &c.sender.counters
	s := Stats{
		Messages:      count.messages.Load(),
		RateLimited:   count.rateLimited.Load(),
		NoDestination: count.noDestination.Load(),
		BadParameters: count.badParams.Load(),
		Destinations:  c.sender.network.stats(),
		Configs:       c.follower.Stats(),
	}
	for _, t := range c.schedule.Stats() {
		s.Reports = append(s.Reports, ReportStats{
			Name: t.Name, Interval: t.Interval, Next: t.Next, Reports: t.Runs, Skipped: t.Skipped,
			Failures: t.Failures, LastError: t.LastError, Took: t.Took, Busy: t.Busy,
		})
	}
	return s
}
