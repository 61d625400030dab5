package apmon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// Client sends to a set of destinations. Make one with [New].
type Client struct {
	opt     options
	dests   []*destination
	room    int // of the longest prefix
	limiter *limiter
	started time.Time // the origin of now

	// ctx ends when the client is closed; wg counts the look-ups under way.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed atomic.Bool
	once   sync.Once  // of Close
	twins  sync.Mutex // held by findTwins

	encoders sync.Pool
	counters counters
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
	c := &Client{
		opt: options{
			ctx:     context.Background(),
			logger:  slog.New(slog.DiscardHandler),
			resolve: lookup,
			limit:   xdr.DefaultLimit,
			cluster: DefaultCluster,
		},
		started: time.Now(),
	}
	for _, o := range opts {
		if o != nil {
			o(&c.opt)
		}
	}
	if err := c.opt.complete(); err != nil {
		return nil, err
	}
	rate := cfg.MaxMsgRate
	if rate == 0 {
		rate = DefaultRate
	}
	if !(rate > 0) || math.IsInf(rate, 0) {
		return nil, fmt.Errorf("apmon: rate limit of %v messages a second", rate)
	}
	c.limiter = newLimiter(rate)
	instance, err := newInstance()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, cd := range cfg.Destinations {
		if err := cd.Check(); err != nil {
			return nil, fmt.Errorf("apmon: destination %s: %w", xdr.Quote(cd.Name()), err)
		}
		if seen[cd.Name()] {
			continue
		}
		seen[cd.Name()] = true
		d := newDestination(cd, instance)
		c.dests = append(c.dests, d)
		c.room = max(c.room, len(d.prefix))
	}
	if len(c.dests) == 0 {
		return nil, fmt.Errorf("%w in the configuration", ErrNoDestination)
	}
	c.encoders.New = func() any { return new(xdr.Encoder) }
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.lookupAll()
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
	if o.cluster == "" {
		o.cluster = DefaultCluster
	}
	if o.node == "" {
		o.node = procinfo.Hostname()
	}
	if err := xdr.CheckName(o.cluster); err != nil {
		return fmt.Errorf("apmon: default cluster: %w", err)
	}
	if err := xdr.CheckName(o.node); err != nil {
		return fmt.Errorf("apmon: default node: %w", err)
	}
	return nil
}

// newInstance returns a random 31-bit id. Receivers tell senders apart by it,
// IPv6 ones almost by it alone, so each client has its own, from the kernel's
// generator: also after a fork and exec, and in programs started within the
// same second.
func newInstance() (int32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("apmon: no random instance id: %w", err)
	}
	return int32(binary.BigEndian.Uint32(b[:]) &^ (1 << 31)), nil
}

// now is the time on the monotonic clock since the client was made: steps of
// the wall clock must not disturb limiter and intervals.
func (c *Client) now() time.Duration { return time.Since(c.started) }

// lookupAll resolves all names and returns when that is done or its time over;
// who is late then goes on until done, or until the client is closed.
func (c *Client) lookupAll() {
	timeout, stop := context.WithTimeout(c.opt.ctx, resolveTimeout)
	defer stop()
	done := make(chan struct{}, len(c.dests))
	started := 0
	for _, d := range c.dests {
		if _, due := d.ready(c); due {
			started++
			c.lookup(d, done)
		}
	}
	c.findTwins()
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
		ctx, stop := context.WithTimeout(c.ctx, resolveTimeout)
		defer stop()
		d.lookup(ctx, c)
		c.findTwins()
		if done != nil {
			done <- struct{}{}
		}
	}()
}

// findTwins marks destinations that are two names of one address, since that
// address shall get each datagram once: the first one sends.
func (c *Client) findTwins() {
	c.twins.Lock() // one at a time, so that the last one sees all addresses
	defer c.twins.Unlock()
	first := map[netip.AddrPort]string{}
	for _, d := range c.dests {
		d.mu.Lock()
		d.twin = ""
		if d.addr.IsValid() {
			if name, taken := first[d.addr]; taken {
				d.twin = name
			} else {
				first[d.addr] = d.name
			}
		}
		d.mu.Unlock()
	}
}

// Close closes the sockets and waits for look-ups under way, which it ends. A
// later Send returns [ErrClosed]. Close may be called more than once; it
// returns nil.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.closed.Store(true)
		c.Probe()
		c.cancel()
		for _, d := range c.dests {
			d.close()
		}
		c.wg.Wait()
	})
	return nil
}

// Probe asks every socket, without waiting, whether the datagrams sent before
// have been refused by now, and counts it in [DestinationStats.Refused]. A
// refusal would otherwise be noticed by the next Send.
func (c *Client) Probe() {
	for _, d := range c.dests {
		d.probe(c)
	}
}

// log writes what a destination has noted, once no lock is held.
func (c *Client) log(d *destination, events []event) {
	for _, ev := range events {
		attrs := []slog.Attr{slog.String("destination", d.name), slog.String("error", ev.err.Error())}
		if ev.more > 0 {
			attrs = append(attrs, slog.Int("repeated", ev.more))
		}
		c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, ev.cause.String(), attrs...)
	}
}
