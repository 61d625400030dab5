package apmon

import (
	"context"
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
// message was not sent. Nothing else waits.
func (c *Client) SendMessage(ctx context.Context, m Message) error {
	return c.send(ctx, m.Cluster, m.Node, m.Time, m.Params)
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

// send does the work of all of them.
func (c *Client) send(ctx context.Context, cluster, node string, t time.Time, params []Param) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if cluster == "" {
		cluster = c.opt.cluster
	}
	if node == "" {
		node = c.opt.node
	}
	enc := c.encoders.Get().(*xdr.Encoder)
	n, err := c.encode(enc, cluster, node, t, params)
	if n > 0 {
		if e := c.deliver(ctx, enc); e != nil {
			// Not even the good parameters went.
			if err != nil {
				e = fmt.Errorf("%w; %w", e, err)
			}
			err = e
		} else {
			c.counters.messages.Add(1)
		}
	}
	if enc.Cap() <= maxPooled {
		c.encoders.Put(enc)
	}
	return err
}

// encode makes the datagrams of a message out of what can be sent, returns
// their number, and says what cannot.
func (c *Client) encode(enc *xdr.Encoder, cluster, node string, t time.Time, params []Param) (int, error) {
	if err := begin(enc, c.room, c.opt.limit, cluster, node, t); err != nil {
		return 0, err
	}
	var bad errorList
	for i := enc.AddAll(params); i < len(params); i += 1 + enc.AddAll(params[i+1:]) {
		p := &params[i]
		err := p.Check()
		if err == nil {
			err = enc.Add(p)
		}
		if err != nil {
			bad.add(err)
		}
	}
	if len(bad.errs) > 0 {
		c.counters.badParams.Add(uint64(len(bad.errs) + bad.more))
	}
	return enc.End(), bad.join()
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

// deliver asks the limiter once and writes the datagrams to all destinations.
func (c *Client) deliver(ctx context.Context, enc *xdr.Encoder) error {
	if err := c.reachable(); err != nil {
		return err
	}
	if c.opt.policy != Off {
		now := c.now()
		for !c.limiter.allow(now, enc.Len()) {
			if c.opt.policy == Drop {
				c.counters.rateLimited.Add(1)
				return c.limiter.err
			}
			if err := c.sleep(ctx, untilNext(now)); err != nil {
				return err
			}
			now = c.now()
		}
	}
	for _, d := range c.dests {
		d.send(c, enc)
	}
	return nil
}

// reachable starts the look-ups that are due, off the sending path, and
// reports whether there is anybody to send to.
func (c *Client) reachable() error {
	any := false
	for _, d := range c.dests {
		resolved, due := d.ready(c)
		if due {
			c.lookup(d, nil)
		}
		any = any || resolved
	}
	if !any {
		c.counters.noDestination.Add(1)
		return fmt.Errorf("%w has been resolved: %s", ErrNoDestination, c.names())
	}
	return nil
}

// sleep waits for the limiter.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("apmon: waiting for the rate limit: %w", context.Cause(ctx))
	case <-c.ctx.Done():
		return ErrClosed
	}
}
