package apmon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Param is one parameter of a message.
type Param = xdr.Param

// Int returns an integer parameter; it travels as int32 where it fits, else as
// real64, in which integers beyond ±2^53 lose precision: the receiver turns
// every number into a double.
func Int[T xdr.Integer](name string, v T) Param { return xdr.Int(name, v) }

// Float returns a real64 parameter. NaN and infinities are [ErrBadValue].
func Float(name string, v float64) Param { return xdr.Float(name, v) }

// String returns a text parameter. An empty or blank text, which the receiver
// would drop, is [ErrBadValue], as is one over 32767 bytes.
func String(name, v string) Param { return xdr.String(name, v) }

// Message is what is sent in one go: parameters of one node of one cluster.
type Message struct {
	Cluster string    // empty for the client's default
	Node    string    // empty for the client's default
	Time    time.Time // zero to let the receiver stamp it
	Params  []Param
}

// Send sends the parameters to all destinations, for a node of a cluster (the
// client's defaults where empty). With no parameters it does nothing.
//
// The errors are those of this package, see [ErrRateLimited] and its
// neighbours; each names its culprit. A parameter that cannot be sent does not
// take the others with it. A nil error means that everything was handed to the
// kernel or counted in [Client.Stats] with the reason why not.
func (c *Client) Send(cluster, node string, params ...Param) error {
	return c.send(context.Background(), cluster, node, time.Time{}, params)
}

// SendAt is [Client.Send] with the time of the values, in whole seconds from
// 1970-01-01T00:00:01Z to 2038-01-19T03:14:07Z; any other is [ErrTime].
func (c *Client) SendAt(t time.Time, cluster, node string, params ...Param) error {
	if t.IsZero() {
		return fmt.Errorf("%w: %v", ErrTime, t)
	}
	return c.send(context.Background(), cluster, node, t, params)
}

// SendMessage is [Client.Send] for a message as a value, with a context that
// ends the wait of the policy [Wait]; its error is returned then, and the
// message was not sent (or only in part, if it has more datagrams than may go
// in a second). Nothing else waits.
func (c *Client) SendMessage(ctx context.Context, m Message) error {
	return c.send(ctx, m.Cluster, m.Node, m.Time, m.Params)
}

// Check returns the error that sending the message would return on account of
// its own names, time and parameters, and sends nothing. It is for those who
// want all parameters of a message sent, or none.
func (c *Client) Check(m Message) error {
	enc := c.encoders.Get().(*xdr.Encoder)
	_, err := c.encode(c.set.Load(), enc, m.Cluster, m.Node, m.Time, m.Params)
	c.recycle(enc)
	return err
}

// Scope returns a handle that carries the names of cluster and node.
func (c *Client) Scope(cluster, node string) Scope { return Scope{c, cluster, node} }

// Scope sends for one node of one cluster. It is a small value; copy it freely.
type Scope struct {
	c             *Client
	cluster, node string
}

// Send is [Client.Send] with the names of the scope.
func (s Scope) Send(params ...Param) error {
	return s.c.send(context.Background(), s.cluster, s.node, time.Time{}, params)
}

// SendAt is [Client.SendAt] with the names of the scope.
func (s Scope) SendAt(t time.Time, params ...Param) error {
	return s.c.SendAt(t, s.cluster, s.node, params...)
}

// maxPooled is the size in bytes of the largest buffer that is kept for the
// next message.
const maxPooled = 256 << 10

// send sends to all destinations.
func (c *Client) send(ctx context.Context, cluster, node string, t time.Time, params []Param) error {
	return c.sendTo(ctx, nil, c.opt.policy, cluster, node, t, params)
}

// sendTo does the work of all of them, for the destinations of one group, or of
// all for nil.
func (c *Client) sendTo(ctx context.Context, only *group, policy RatePolicy, cluster, node string, t time.Time, params []Param) error {
	if c.closed.Load() {
		return ErrClosed
	}
	enc := c.encoders.Get().(*xdr.Encoder)
	s := c.set.Load()
	n, err := c.encode(s, enc, cluster, node, t, params)
	if err != nil {
		var bad *badParams
		if errors.As(err, &bad) {
			c.counters.badParams.Add(uint64(bad.n))
		}
	}
	if n > 0 {
		first := 0 // datagrams that may go at once
		e := c.reachable(s, only)
		if e == nil {
			first, e = c.admit(ctx, policy, n)
		}
		if e == nil && policy == Wait && c.set.Load() != s {
			// The configuration has changed while the message waited.
			s = c.set.Load()
			if n, err = c.encode(s, enc, cluster, node, t, params); n > 0 {
				e = c.reachable(s, only)
			} else {
				e, err = err, nil // a longer prefix leaves it no room
			}
		}
		if e == nil {
			e = c.write(ctx, s, only, enc, first)
		}
		if e == nil {
			c.counters.messages.Add(1)
		} else if err != nil {
			// Not even the good parameters went.
			err = fmt.Errorf("%w; %w", e, err)
		} else {
			err = e
		}
	}
	c.recycle(enc)
	return err
}

// recycle keeps an encoder for the next message.
func (c *Client) recycle(enc *xdr.Encoder) {
	if enc.Cap() <= maxPooled {
		c.encoders.Put(enc)
	}
}

// encode makes the datagrams of a message out of what can be sent, returns
// their number, and says what cannot.
func (c *Client) encode(s *set, enc *xdr.Encoder, cluster, node string, t time.Time, params []Param) (int, error) {
	if cluster == "" {
		cluster = c.opt.cluster
	}
	if node == "" {
		node = c.opt.defaultNode()
	}
	if err := begin(enc, s.room, c.opt.limit, cluster, node, t); err != nil {
		return 0, err
	}
	var bad *badParams
	for i := enc.AddPlain(params); i < len(params); i += 1 + enc.AddPlain(params[i+1:]) {
		p := &params[i]
		err := p.Check()
		if err == nil {
			err = enc.Add(p)
		}
		if err != nil {
			if bad == nil {
				bad = new(badParams)
			}
			bad.add(err)
		}
	}
	n := enc.End()
	if bad != nil {
		return n, bad
	}
	return n, nil
}

// begin checks names and time and begins the message.
func begin(enc *xdr.Encoder, room, limit int, cluster, node string, t time.Time) error {
	if err := xdr.CheckName(cluster); err != nil {
		return fmt.Errorf("apmon: cluster %s: %w", xdr.Quote(cluster), err)
	}
	if err := xdr.CheckName(node); err != nil {
		return fmt.Errorf("apmon: node %s: %w", xdr.Quote(node), err)
	}
	var err error
	if t.IsZero() {
		err = enc.Begin(room, limit, cluster, node)
	} else {
		sec := t.Unix()
		if sec < 1 || sec > math.MaxInt32 {
			return fmt.Errorf("%w: %s", ErrTime, t.UTC().Format(time.RFC3339))
		}
		err = enc.BeginTimed(room, limit, cluster, node, int32(sec))
	}
	if err != nil {
		return fmt.Errorf("apmon: %w", err)
	}
	return nil
}

// admit asks the limiter whether a message of n datagrams may go, and returns
// how many of them. With the policy Wait it waits for the first part, see write.
func (c *Client) admit(ctx context.Context, policy RatePolicy, n int) (int, error) {
	switch policy {
	case Drop:
		if !c.limiter.allow(c.now(), n) {
			c.counters.rateLimited.Add(1)
			_, err := c.limiter.limit()
			if n > 1 {
				err = fmt.Errorf("%w: message of %d datagrams", err, n)
			}
			return 0, err
		}
	case Wait:
		return c.wait(ctx, n)
	}
	return n, nil
}

// write hands the datagrams to the destinations of a group, or to all: the
// first ones at once, the others as the limiter lets them pass.
func (c *Client) write(ctx context.Context, s *set, only *group, enc *xdr.Encoder, first int) error {
	n := enc.Len()
	for from, to := 0, min(first, n); ; {
		for i := range s.targets {
			if t := &s.targets[i]; only == nil || t.group == only {
				t.send(c, enc, from, to)
			}
		}
		c.tap.send(enc, from, to)
		if to == n {
			return nil
		}
		more, err := c.wait(ctx, n-to)
		if err != nil {
			return err
		}
		from, to = to, to+more
	}
}

// reachable starts the look-ups that are due, off the sending path, and
// reports whether there is anybody to send to.
func (c *Client) reachable(s *set, only *group) error {
	if c.startLookups(s, only) || c.opt.tap != nil {
		return nil
	}
	c.counters.noDestination.Add(1)
	if len(s.targets) == 0 {
		return fmt.Errorf("%w: no configuration has been loaded", ErrNoDestination)
	}
	return fmt.Errorf("%w has been resolved: %s", ErrNoDestination, s.names(only))
}

// startLookups starts the look-ups that are due, and reports whether there is
// any address, in one group, or in all for nil.
func (c *Client) startLookups(s *set, only *group) (resolved bool) {
	for i := range s.targets {
		t := &s.targets[i]
		ok, due := t.ready(c)
		if due {
			c.lookup(t.destination, nil)
		}
		resolved = resolved || ok && (only == nil || t.group == only)
	}
	return resolved
}

// wait waits until the limiter lets some of so many datagrams pass, and returns
// how many: a message of more than the rate would never pass as a whole. The
// rate is asked for on each turn, as it may change meanwhile.
func (c *Client) wait(ctx context.Context, datagrams int) (int, error) {
	for {
		now := c.now()
		if part := min(datagrams, c.limiter.part()); c.limiter.allow(now, part) {
			return part, nil
		}
		t := time.NewTimer(untilNext(now))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("apmon: waiting for the rate limit: %w", context.Cause(ctx))
		case <-c.ctx.Done():
			t.Stop()
			return 0, ErrClosed
		}
	}
}
