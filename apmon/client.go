package apmon

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// Client sends to a set of destinations. Make one with [New] or [Open].
type Client struct {
	opt      options
	instance int32
	limiter  *limiter
	started  time.Time // the origin of now

	// set is what Send sees: swapped as a whole by a reload, and never changed.
	set atomic.Pointer[set]

	// ctx ends when the client is closed; wg counts the look-ups under way and
	// the goroutine that watches the sources.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed atomic.Bool
	once   sync.Once  // of Close
	twins  sync.Mutex // held while the set is replaced
	// resolving bounds the look-ups under way.
	resolving chan struct{}

	// reload holds a token while sources are read and the set is swapped. (Not
	// a mutex: who waits for it gives up with its context.)
	reload  chan struct{}
	dests   map[string]*destination // all that ever were in the set, by name
	sources []*source               // of Open
	pending bool                    // what they say is not in force yet
	// sourceStats are those of sources, published so that Stats does not wait
	// for a reload.
	sourceStats atomic.Pointer[[]SourceStats]
	rearm       chan struct{} // tells the watching goroutine that times have changed
	ready       chan struct{} // closed by isReady when the sources have been looked at
	isReady     func()

	monitor monitor
	// What programs may set at any time.
	hostNames atomic.Pointer[nodeName]
	factors   atomic.Pointer[procinfo.Factors]

	tap      tap
	encoders encoders
	counters counters
}

// set is the destinations of one moment.
type set struct {
	targets []target
	groups  []*group      // one for each configuration; two may have the same
	room    int           // of the longest prefix
	configs []conf.Config // that it was made of
}

// target is a destination with what precedes each of its datagrams: header,
// instance id, and room for the sequence number.
type target struct {
	*destination
	group  *group
	prefix []byte
	twin   string // another target with the same address, which gets the datagrams
}

// New makes a client of a configuration. It looks all names up, in parallel
// and for 5 s at most (or until the context of [WithContext] ends), so that
// what is sent right afterwards has an address to go to; a name that is not
// found in that time is tried again later.
//
// The error names the destination or the setting that cannot be used; it wraps
// [ErrNoDestination] if there is none at all. That a name does not resolve or
// nobody listens is no error of New: see [Client.Send] and [Client.Stats].
func New(cfg conf.Config, opts ...Option) (*Client, error) {
	c, err := newClient(opts)
	if err != nil {
		return nil, err
	}
	if cfg, err = checked(cfg); err != nil {
		return nil, err
	}
	if err := c.apply(c.opt.ctx, []conf.Config{cfg}); err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	c.isReady()
	return c, nil
}

// checked returns a copy of a hand-made configuration, or what is wrong with it.
func checked(cfg conf.Config) (conf.Config, error) {
	if len(cfg.Destinations) == 0 {
		return cfg, fmt.Errorf("%w in the configuration", ErrNoDestination)
	}
	if err := checkContent(cfg); err != nil {
		return cfg, fmt.Errorf("apmon: %w", err)
	}
	cfg.Destinations, cfg.Params = slices.Clone(cfg.Destinations), maps.Clone(cfg.Params)
	return cfg, nil
}

// checkContent refuses what a hand-made configuration may hold.
func checkContent(cfg conf.Config) error {
	if err := checkOptions(cfg.Options); err != nil {
		return err
	}
	for _, cd := range cfg.Destinations {
		if err := cd.Check(); err != nil {
			return fmt.Errorf("destination %s: %w", safetext.Quote(cd.Name()), err)
		}
	}
	return nil
}

// checkOptions refuses a rate and intervals that a program may set.
func checkOptions(o conf.Options) error {
	if err := checkRate(o.MaxMsgRate); err != nil {
		return err
	}
	for _, i := range []struct {
		name     string
		interval time.Duration
	}{{"SysInterval", o.SysInterval}, {"JobInterval", o.JobInterval}, {"RecheckInterval", o.RecheckInterval}} {
		if err := checkInterval(i.interval); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return nil
}

// checkRate refuses a rate limit that is neither 0 nor a positive number.
func checkRate(rate float64) error {
	if rate != 0 && !(rate > 0 && rate < math.Inf(1)) {
		return fmt.Errorf("rate limit of %v messages a second is not a positive number", rate)
	}
	return nil
}

// newClient makes a client without destinations.
func newClient(opts []Option) (*Client, error) {
	c := &Client{
		opt: options{
			ctx:     context.Background(),
			logger:  slog.New(slog.DiscardHandler),
			resolve: lookup,
			limit:   xdr.DefaultLimit,
		},
		limiter: newLimiter(DefaultRate),
		started: time.Now(),
		dests:   map[string]*destination{},
		rearm:   make(chan struct{}, 1),

		ready:     make(chan struct{}),
		resolving: make(chan struct{}, maxLookups),
		reload:    make(chan struct{}, 1),
	}
	for _, o := range opts {
		if o != nil {
			o(&c.opt)
		}
	}
	if err := c.opt.complete(); err != nil {
		return nil, err
	}
	var err error
	if c.instance, err = newInstance(); err != nil {
		return nil, err
	}
	c.isReady = sync.OnceFunc(func() { close(c.ready) })
	c.monitor.c, c.monitor.phase, c.monitor.wake = c, mathrand.Float64(), make(chan struct{}, 1)
	c.hostNames.Store(&nodeName{c.opt.hostCluster, c.opt.hostNode})
	c.tap.init(c.opt.tap, c.instance)
	// What WithMonitoring sets in any case is checked here, also for clients
	// that start without a configuration.
	if _, err := c.opt.monitoring(conf.Options{}); err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	empty, err := c.newSet(nil)
	if err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	c.set.Store(empty)
	c.sourceStats.Store(new([]SourceStats))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// complete checks the options and fills in what they leave open.
func (o *options) complete() error {
	if o.ctx == nil || o.resolve == nil {
		return errors.New("apmon: nil context or resolver")
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.limit <= 0 || o.limit > xdr.MaxLimit {
		return fmt.Errorf("apmon: datagram limit of %d bytes is not within 1 … %d", o.limit, xdr.MaxLimit)
	}
	if o.policy < Drop || o.policy > Off {
		return fmt.Errorf("apmon: unknown rate policy %d", o.policy)
	}
	o.cluster = cmp.Or(o.cluster, DefaultCluster)
	o.hostCluster = cmp.Or(o.hostCluster, DefaultMonitorCluster)
	for _, n := range []struct{ what, name string }{
		{"default cluster", o.cluster}, {"default node", o.node}, {"cluster of the host", o.hostCluster}, {"node of the host", o.hostNode},
	} {
		if n.name == "" {
			continue // a node: the host's name
		}
		if err := xdr.CheckName(n.name); err != nil {
			return fmt.Errorf("apmon: %s: %w", n.what, err)
		}
	}
	o.defaultNode = func() string { return o.node }
	if o.node == "" {
		// Not before it is needed: it reads files.
		o.defaultNode = sync.OnceValue(procinfo.Hostname)
	}
	return nil
}

// newInstance returns a random 31-bit id. Receivers tell senders apart by it,
// IPv6 ones almost by it alone, so each client has its own, from the kernel's
// generator: also after a fork and exec, and in programs started within the
// same second.
func newInstance() (int32, error) {
	var b [4]byte
	if err := readRandom(b[:]); err != nil {
		return 0, fmt.Errorf("apmon: no random instance id: %w", err)
	}
	return int32(binary.BigEndian.Uint32(b[:]) &^ (1 << 31)), nil
}

// now is the time on the monotonic clock since the client was made: steps of
// the wall clock must not disturb limiter and intervals.
func (c *Client) now() time.Duration { return time.Since(c.started) }

// apply makes the configurations the ones in force: the set is made whole,
// names that are new are looked up (for 5 s at most, or until ctx ends), and
// then it is swapped in one step. A message on its way goes to the old set or
// to the new one. Destinations that stay keep everything but their password.
//
// Where none of the new destinations has an address, but one of the old, the
// old ones stay and the error is errUnresolved. It is another one, and nothing
// changes, where [WithAdjust] or [WithMonitoring] set what cannot be used.
func (c *Client) apply(ctx context.Context, configs []conf.Config) error {
	var all conf.Config
	for _, cfg := range configs {
		all.Merge(cfg)
	}
	if c.opt.adjust != nil {
		c.opt.adjust(&all)
		if err := checkContent(all); err != nil {
			return err
		}
	}
	next, err := c.newSet(configs)
	if err != nil {
		return err
	}
	groups := map[string]*group{} // of each destination: that of the first who names it
	for i, cfg := range configs {
		for _, cd := range cfg.Destinations {
			if name := cd.Name(); groups[name] == nil {
				groups[name] = next.groups[i]
			}
		}
	}
	in := map[string]bool{}
	for _, cd := range all.Destinations {
		name := cd.Name()
		in[name] = true
		d := c.dests[name]
		if d == nil {
			d = newDestination(cd)
			c.dests[name] = d
		}
		d.use()
		prefix := xdr.AppendPrefix(nil, xdr.Version, cd.Password, c.instance, 0)
		if groups[name] == nil && len(next.groups) > 0 {
			groups[name] = next.groups[0] // WithAdjust has added it
		}
		next.targets = append(next.targets, target{destination: d, group: groups[name], prefix: prefix})
		next.room = max(next.room, len(prefix))
	}
	rate := all.MaxMsgRate
	if rate == 0 {
		rate = DefaultRate
	}
	c.lookupAll(ctx, next)
	if old := c.set.Load(); !next.resolved() && old.resolved() {
		return fmt.Errorf("%w: %s", errUnresolved, next.names(nil))
	}
	c.twins.Lock()
	next.findTwins()
	c.set.Store(next)
	c.twins.Unlock()
	c.limiter.setMax(rate)
	for name, d := range c.dests {
		if !in[name] {
			d.retire()
		}
	}
	c.forget(in)
	c.monitor.reload()
	return nil
}

// errUnresolved: no new destination has an address.
var errUnresolved = errors.New("no new destination resolves, the old ones stay")

// newSet returns a set without targets, with the groups that the configurations
// ask for. The error is that of options which [WithMonitoring] has set.
func (c *Client) newSet(configs []conf.Config) (*set, error) {
	s := &set{configs: configs, room: len(c.tap.prefix)}
	var there []*group
	if old := c.set.Load(); old != nil {
		there = old.groups
	}
	if len(configs) == 0 && c.opt.tap != nil {
		configs = []conf.Config{{}}
	}
	for _, cfg := range configs {
		o, err := c.opt.monitoring(cfg.Options)
		if err != nil {
			return nil, err
		}
		s.groups = append(s.groups, groupOf(cfg.Source, o, s.groups, there))
	}
	return s, nil
}

// monitoring returns the options of a source as [WithMonitoring] and
// [WithoutHost] want them.
func (o *options) monitoring(of conf.Options) (conf.Options, error) {
	var err error
	if o.adjustOptions != nil {
		of.Params = maps.Clone(of.Params)
		o.adjustOptions(&of)
		err = checkOptions(of)
	}
	if o.withoutHost {
		of.SysMonitoring, of.GeneralInfo = conf.Off, conf.Off
	}
	return of, err
}

// resolved reports whether any target has an address.
func (s *set) resolved() bool {
	return slices.ContainsFunc(s.targets, func(t target) bool { return t.destination.resolved.Load() })
}

// maxForgotten is how many destinations are remembered that are no longer
// used, so that their sequence numbers go on if they come back.
const maxForgotten = 10_000

func (c *Client) forget(in map[string]bool) {
	if len(c.dests) <= len(in)+maxForgotten {
		return
	}
	for name := range c.dests {
		if !in[name] {
			delete(c.dests, name)
		}
	}
}

// lookupAll resolves the names that are due and returns when that is done or
// its time over; who is late then goes on until done, or until the client is
// closed.
func (c *Client) lookupAll(ctx context.Context, s *set) {
	done := make(chan struct{}, len(s.targets))
	started := 0
	for _, t := range s.targets {
		if _, due := t.ready(c); due {
			started++
			c.lookup(t.destination, done)
		}
	}
	if started == 0 {
		return // without a timer, which would start the runtime's poller
	}
	timeout, stop := context.WithTimeout(ctx, resolveTimeout)
	defer stop()
	for range started {
		select {
		case <-done:
		case <-timeout.Done():
			return
		}
	}
}

// lookup resolves one destination's name in a goroutine of its own, after
// [destination.ready] has asked for it. Done may be nil.
func (c *Client) lookup(d *destination, done chan<- struct{}) {
	go func() {
		defer c.wg.Done()
		// Deferred, since a resolver may end the goroutine.
		defer func() {
			if done != nil {
				done <- struct{}{}
			}
		}()
		select {
		case c.resolving <- struct{}{}:
			defer func() { <-c.resolving }()
			ctx, stop := context.WithTimeout(c.ctx, resolveTimeout)
			defer stop()
			if d.lookup(ctx, c) {
				c.findTwins()
			}
		case <-c.ctx.Done():
		}
	}()
}

// findTwins marks anew, after an address has changed, in a set of its own: a
// sender sees one set from the first destination to the last.
func (c *Client) findTwins() {
	c.twins.Lock() // one at a time, so that the last one sees all addresses
	defer c.twins.Unlock()
	old := c.set.Load()
	next := *old
	next.targets = slices.Clone(old.targets)
	if next.findTwins() {
		c.set.Store(&next)
	}
}

// findTwins marks targets that are two names of one address, since that address
// shall get each datagram once: the first one sends. It reports whether a mark
// has changed.
func (s *set) findTwins() (changed bool) {
	first := map[netip.AddrPort]string{}
	for i := range s.targets {
		t := &s.targets[i]
		was := t.twin
		t.twin = ""
		if addr := t.address(); addr.IsValid() {
			if name, taken := first[addr]; taken {
				t.twin = name
			} else {
				first[addr] = t.name
			}
		}
		changed = changed || t.twin != was
	}
	return changed
}

// Close reports the jobs a last time, for half a second at most, and those who
// were not reported in the second before; it ends monitoring, closes the sockets and waits for what is under way:
// look-ups, which it ends, and sources that collect, for half a second at most. A later
// Send returns [ErrClosed]. Close may be called more than once; it returns nil.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.monitor.lastJobReports()
		c.closed.Store(true)
		c.Probe()
		c.cancel() // also ends a reload under way
		c.reload <- struct{}{}
		for _, d := range c.dests {
			d.close()
		}
		<-c.reload
		c.wg.Wait()
		c.monitor.close()
	})
	return nil
}

// Probe asks every socket, without waiting, whether the datagrams sent before
// have been refused by now, and counts it in [DestinationStats.Refused]. A
// refusal would otherwise be noticed by the next Send.
func (c *Client) Probe() {
	for _, t := range c.set.Load().targets {
		t.probe(c)
	}
}

// log writes what a destination has noted, once no lock is held.
func (c *Client) log(d *destination, events []event) {
	for _, ev := range events {
		attrs := []slog.Attr{slog.String("destination", d.name), slog.String("error", ev.err.Error())}
		c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, ev.cause.String(), append(attrs, repeated(ev.more)...)...)
	}
}
