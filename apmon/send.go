package apmon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
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
	return c.send(context.Background(), &Message{Cluster: cluster, Node: node, Params: params})
}

// SendAt is [Client.Send] with the time of the values, in whole seconds from
// 1970-01-01T00:00:01Z to 2038-01-19T03:14:07Z; any other is [ErrTime].
func (c *Client) SendAt(t time.Time, cluster, node string, params ...Param) error {
	if t.IsZero() {
		return fmt.Errorf("%w: %v", ErrTime, t)
	}
	return c.send(context.Background(), &Message{cluster, node, t, params})
}

// SendMessage is [Client.Send] for a message as a value, with a context that
// ends the wait of the policy [Wait]; its error is returned then, and the
// message was not sent (or only in part, if it has more datagrams than may go
// in a second). Nothing else waits.
func (c *Client) SendMessage(ctx context.Context, m Message) error {
	return c.send(ctx, &m)
}

// Check returns the error that sending the message would return on account of
// its own names, time and parameters, and sends nothing. It is for those who
// want all parameters of a message sent, or none.
func (c *Client) Check(m Message) error {
	enc := c.encoders.get()
	_, err := c.encode(c.set.Load(), enc, &m)
	c.encoders.put(enc)
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
	return s.c.send(context.Background(), &Message{Cluster: s.cluster, Node: s.node, Params: params})
}

// SendAt is [Client.SendAt] with the names of the scope.
func (s Scope) SendAt(t time.Time, params ...Param) error {
	return s.c.SendAt(t, s.cluster, s.node, params...)
}

// send sends to all destinations.
func (c *Client) send(ctx context.Context, m *Message) error {
	return c.sendTo(ctx, nil, c.opt.policy, m)
}

// sendTo sends to the destinations of one group, or to all for nil.
func (c *Client) sendTo(ctx context.Context, only *group, policy RatePolicy, m *Message) error {
	if c.closed.Load() {
		return ErrClosed
	}
	enc := c.encoders.get()
	s := c.set.Load()
	n, bad := c.encode(s, enc, m)
	if bad != nil {
		c.countBad(bad)
	}
	err := bad
	if n > 0 {
		n, err = c.admit(ctx, s, only, policy, n)
		if err == nil && policy == Wait && c.set.Load() != s {
			s, bad, err = c.encodeAgain(enc, only, m)
		}
		if err == nil {
			err = c.write(ctx, s, only, enc, n)
		}
		if err == nil {
			c.counters.messages.Add(1)
		}
		if bad != nil {
			err = withBad(err, bad)
		}
	}
	c.encoders.put(enc)
	return err
}

// admit returns when a message of n datagrams may be written, and how many of
// them at once.
func (c *Client) admit(ctx context.Context, s *set, only *group, policy RatePolicy, n int) (int, error) {
	err := c.reachable(s, only)
	if err == nil && policy != Off {
		n, err = c.limit(ctx, policy, n)
	}
	return n, err
}

// encodeAgain encodes a message for the set now in force, after the
// configuration has changed while the message waited. The second result is what
// cannot be sent of it.
func (c *Client) encodeAgain(enc *xdr.Encoder, only *group, m *Message) (*set, error, error) {
	s := c.set.Load()
	n, bad := c.encode(s, enc, m)
	if n == 0 {
		return s, nil, bad // a longer prefix leaves it no room
	}
	return s, bad, c.reachable(s, only)
}

// countBad counts the parameters that are left out.
func (c *Client) countBad(err error) {
	var bad *badParams
	if errors.As(err, &bad) {
		c.counters.badParams.Add(uint64(bad.n))
	}
}

// withBad adds what is wrong with a message to the error of sending the rest.
func withBad(err, bad error) error {
	if err == nil {
		return bad
	}
	return fmt.Errorf("%w; %w", err, bad) // not even the good parameters went
}

// encoders keeps encoders for the next messages. One of them is kept beside the
// pool, whose calls take a quarter of the time of encoding a short message.
type encoders struct {
	spare atomic.Pointer[xdr.Encoder]
	pool  sync.Pool
}

// maxPooled is the size in bytes of the largest buffer that is kept for the
// next message.
const maxPooled = 256 << 10

func (e *encoders) get() *xdr.Encoder {
	if enc := e.spare.Swap(nil); enc != nil {
		return enc
	}
	if enc, ok := e.pool.Get().(*xdr.Encoder); ok {
		return enc
	}
	return new(xdr.Encoder)
}

func (e *encoders) put(enc *xdr.Encoder) {
	if enc.Cap() <= maxPooled && !e.spare.CompareAndSwap(nil, enc) {
		e.pool.Put(enc)
	}
}

// encode makes the datagrams of a message out of what can be sent, returns
// their number, and says what cannot.
func (c *Client) encode(s *set, enc *xdr.Encoder, m *Message) (int, error) {
	if err := c.begin(s, enc, m); err != nil {
		return 0, err
	}
	var err error
	if added := enc.AddPlain(m.Params); added < len(m.Params) {
		err = addRest(enc, m.Params[added:])
	}
	return enc.End(), err
}

// addRest adds the parameters that [xdr.Encoder.AddPlain] has left, of which the
// first is not plain, and says what cannot be sent.
func addRest(enc *xdr.Encoder, params []Param) error {
	var bad *badParams
	for i := 0; i < len(params); i += 1 + enc.AddPlain(params[i+1:]) {
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
	if bad == nil {
		return nil
	}
	return bad
}

// begin checks names and time and begins the message.
func (c *Client) begin(s *set, enc *xdr.Encoder, m *Message) error {
	cluster, node := m.Cluster, m.Node
	if cluster == "" {
		cluster = c.opt.cluster
	}
	if node == "" {
		node = c.opt.defaultNode()
	}
	if err := xdr.CheckName(cluster); err != nil {
		return nameError("cluster", cluster, err)
	}
	if err := xdr.CheckName(node); err != nil {
		return nameError("node", node, err)
	}
	var err error
	if m.Time.IsZero() {
		err = enc.Begin(s.room, c.opt.limit, cluster, node)
	} else {
		sec := m.Time.Unix()
		if sec < 1 || sec > math.MaxInt32 {
			return fmt.Errorf("%w: %s", ErrTime, m.Time.UTC().Format(time.RFC3339))
		}
		err = enc.BeginTimed(s.room, c.opt.limit, cluster, node, int32(sec))
	}
	if err != nil {
		return fmt.Errorf("apmon: %w", err)
	}
	return nil
}

func nameError(what, name string, err error) error {
	return fmt.Errorf("apmon: %s %s: %w", what, safetext.Quote(name), err)
}

// limit asks the limiter whether a message of n datagrams may go, and returns
// how many of them. With the policy Wait it waits for the first part, see write.
func (c *Client) limit(ctx context.Context, policy RatePolicy, n int) (int, error) {
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
