package apmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// sender sends messages: it encodes them, applies the rate limit, and passes the
// datagrams to the network and to the tap.
type sender struct {
	network  network
	limiter  *limiter
	tap      tap
	encoders encoders
	counters counters
	closed   atomic.Bool

	// Settings.
	policy      RatePolicy
	size        int           // limit of a datagram in bytes
	cluster     string        // of messages without one
	defaultNode func() string // node of messages without one
}

// counters count messages.
type counters struct {
	messages, rateLimited, noDestination, badParams atomic.Uint64
}

// outgoing is a message on its way through a sender.
type outgoing struct {
	Message
	to     tag // 0 for all destinations
	policy RatePolicy
}

// init prepares a sender without destinations. The sender lasts until ctx ends.
func (s *sender) init(ctx context.Context, opt *settings, instance int32) {
	s.policy, s.size, s.cluster, s.defaultNode = opt.RatePolicy, opt.DatagramLimit, opt.Cluster, opt.defaultNode
	s.limiter = newLimiter(DefaultRate)
	s.tap.init(opt.tap, instance)
	n := &s.network
	n.dialer, n.resolve = opt.dial, opt.resolve
	n.report = func(destination string, e event) {
		attrs := []slog.Attr{slog.String("destination", destination), slog.String("error", e.err.Error())}
		opt.logger.LogAttrs(context.Background(), slog.LevelWarn, e.cause.String(), append(attrs, repeated(e.more)...)...)
	}
	n.init(ctx, instance, len(s.tap.prefix))
}

// send sends a message.
func (s *sender) send(ctx context.Context, m *outgoing) error {
	if s.closed.Load() {
		return ErrClosed
	}
	enc := s.encoders.get()
	set := s.network.set.Load()
	n, bad := s.encode(set, enc, &m.Message)
	if bad != nil {
		s.countBad(bad)
	}
	err := bad
	if n > 0 {
		n, err = s.admit(ctx, set, m, n)
		if err == nil && m.policy == RateWait && s.network.set.Load() != set {
			set, bad, err = s.encodeAgain(enc, m)
		}
		if err == nil {
			err = s.write(ctx, set, m, enc, n)
		}
		if err == nil {
			s.counters.messages.Add(1)
		}
		if bad != nil {
			err = withBad(err, bad)
		}
	}
	s.encoders.put(enc)
	return err
}

// report sends a report. If the rate limit is reached, it waits, since no caller
// waits for it.
func (s *sender) report(ctx context.Context, to tag, m Message) error {
	if len(m.Params) == 0 {
		return nil
	}
	policy := RateWait
	if s.policy == RateOff {
		policy = RateOff
	}
	return s.send(ctx, &outgoing{m, to, policy})
}

// check returns the error that sending the message would return for its names, time
// and parameters.
func (s *sender) check(m *Message) error {
	enc := s.encoders.get()
	_, err := s.encode(s.network.set.Load(), enc, m)
	s.encoders.put(enc)
	return err
}

// admit waits until a message of n datagrams may be written, as the policy allows,
// and returns the number of datagrams that may be written at once.
func (s *sender) admit(ctx context.Context, set *set, m *outgoing, n int) (int, error) {
	err := s.reachable(set, m.to)
	if err == nil && m.policy != RateOff {
		n, err = s.limit(ctx, m.policy, n)
	}
	return n, err
}

// encodeAgain encodes a message for the current set, after the configuration has
// changed while the message waited. The second result names the parameters that
// cannot be sent.
func (s *sender) encodeAgain(enc *xdr.Encoder, m *outgoing) (*set, error, error) {
	set := s.network.set.Load()
	n, bad := s.encode(set, enc, &m.Message)
	if n == 0 {
		return set, nil, bad // a longer prefix leaves no room for it
	}
	return set, bad, s.reachable(set, m.to)
}

// countBad counts the parameters that are left out.
func (s *sender) countBad(err error) {
	var bad *badParams
	if errors.As(err, &bad) {
		s.counters.badParams.Add(uint64(bad.n))
	}
}

// withBad joins the error about bad parameters with that of sending the others.
func withBad(err, bad error) error {
	if err == nil {
		return bad
	}
	return fmt.Errorf("%w; %w", err, bad)
}

// encoders keeps encoders for later messages. One encoder is kept outside the pool,
// since the calls of a pool take a quarter of the time of encoding a short message.
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

// encode encodes a message and returns the number of datagrams. The error names the
// parameters that are left out.
func (s *sender) encode(set *set, enc *xdr.Encoder, m *Message) (int, error) {
	if err := s.begin(set, enc, m); err != nil {
		return 0, err
	}
	var err error
	if added := enc.AddPlain(m.Params); added < len(m.Params) {
		err = addRest(enc, m.Params[added:])
	}
	return enc.End(), err
}

// addRest adds the parameters that [xdr.Encoder.AddPlain] has not added; the first of
// them is not plain. The error names those that cannot be sent.
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
func (s *sender) begin(set *set, enc *xdr.Encoder, m *Message) error {
	cluster, node := m.Cluster, m.Node
	if cluster == "" {
		cluster = s.cluster
	}
	if node == "" {
		node = s.defaultNode()
	}
	if err := xdr.CheckName(cluster); err != nil {
		return nameError("cluster", cluster, err)
	}
	if err := xdr.CheckName(node); err != nil {
		return nameError("node", node, err)
	}
	var err error
	if m.Time.IsZero() {
		err = enc.Begin(set.room, s.size, cluster, node)
	} else {
		sec := m.Time.Unix()
		if sec < 1 || sec > math.MaxInt32 {
			return fmt.Errorf("%w: %s", ErrTime, m.Time.UTC().Format(time.RFC3339))
		}
		err = enc.BeginTimed(set.room, s.size, cluster, node, int32(sec))
	}
	if err != nil {
		return fmt.Errorf("apmon: %w", err)
	}
	return nil
}

func nameError(what, name string, err error) error {
	return fmt.Errorf("apmon: %s %s: %w", what, safetext.Quote(name), err)
}

// limit asks the limiter whether a message of n datagrams may be sent, and returns
// how many of them may be sent at once. With RateWait it waits for the first part,
// and write waits for the others.
func (s *sender) limit(ctx context.Context, policy RatePolicy, n int) (int, error) {
	switch policy {
	case RateDrop:
		if !s.limiter.allow(s.network.now(), n) {
			s.counters.rateLimited.Add(1)
			_, err := s.limiter.limit()
			if n > 1 {
				err = fmt.Errorf("%w: message of %d datagrams", err, n)
			}
			return 0, err
		}
	case RateWait:
		return s.wait(ctx, n)
	}
	return n, nil
}

// write passes the datagrams to the destinations: the first ones at once, the others
// as the limiter admits them.
func (s *sender) write(ctx context.Context, set *set, m *outgoing, enc *xdr.Encoder, first int) error {
	n := enc.Len()
	for from, to := 0, min(first, n); ; {
		for i := range set.targets {
			if t := &set.targets[i]; m.to == 0 || t.tag == m.to {
				t.send(enc, from, to)
			}
		}
		s.tap.send(enc, from, to)
		if to == n {
			return nil
		}
		more, err := s.wait(ctx, n-to)
		if err != nil {
			return err
		}
		from, to = to, to+more
	}
}

// reachable starts the look-ups that are due, and returns an error if no
// destination has an address.
func (s *sender) reachable(set *set, to tag) error {
	if s.network.startLookups(set, to) || s.tap.see != nil {
		return nil
	}
	s.counters.noDestination.Add(1)
	if len(set.targets) == 0 {
		return errNotLoaded
	}
	return fmt.Errorf("%w has been resolved: %s", ErrNoDestination, set.names(to))
}

// errNotLoaded is the error of a client that has no destination at all.
var errNotLoaded = fmt.Errorf("%w: no configuration has been loaded", ErrNoDestination)

// wait waits until the limiter admits some of the datagrams, and returns their
// number: a message of more datagrams than the rate is never admitted as a whole. It
// reads the rate each time, since the rate may change.
func (s *sender) wait(ctx context.Context, datagrams int) (int, error) {
	for {
		now := s.network.now()
		if part := min(datagrams, s.limiter.part()); s.limiter.allow(now, part) {
			return part, nil
		}
		t := time.NewTimer(untilNext(now))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("apmon: waiting for the rate limit: %w", context.Cause(ctx))
		case <-s.network.ctx.Done():
			t.Stop()
			return 0, ErrClosed
		}
	}
}
