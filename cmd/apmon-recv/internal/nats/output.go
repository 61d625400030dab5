package nats

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
)

const (
	// maxPending is the number of messages that are published and not yet acknowledged.
	maxPending = 4000
	// portion is the number of datagrams that are prepared at once. All are acknowledged
	// or dropped before the next portion, so it is more than maxPending.
	portion = 4 * maxPending
	// maxAckTimeout is how long a server may take to acknowledge a message.
	maxAckTimeout = 5 * time.Second
	// retryPause is the time between two attempts to publish.
	retryPause = 250 * time.Millisecond
)

// Output publishes datagrams to streams. Use [New].
type Output struct {
	options    Options
	log        *slog.Logger
	duplicates atomic.Uint64
}

// New returns an output. The log, which may be nil, receives differences between the options
// and streams that exist.
func New(o Options, log *slog.Logger) (*Output, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.defaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Output{options: o, log: log}, nil
}

// Name says where the streams are.
func (o *Output) Name() string { return "nats " + o.options.name() }

// Duplicates returns the number of published datagrams that a stream had already: another
// receiver, or an earlier attempt, had stored them.
func (o *Output) Duplicates() uint64 { return o.duplicates.Load() }

// Run publishes accepted datagrams. It connects in the background, and makes missing streams.
// A failed publish is repeated with the same message id until the datagram is older than the
// duplicate window less the time that an acknowledgement may take; then it is dropped as
// too_old. A message that the stream never takes is dropped as rejected.
func (o *Output) Run(ctx context.Context, in *output.In) error {
	p := &publisher{
		Output: o, in: in,
		landed: make(chan struct{}, 1),
		flying: make(map[*nats.Msg]int),
		window: o.options.Window,
	}
	ackTimeout := min(maxAckTimeout, o.options.Window/6)
	nc, err := o.options.connect(p.note)
	if err != nil {
		return err
	}
	defer nc.Close()
	p.nc = nc
	p.js, err = jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(maxPending),
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithPublishAsyncAckHandler(p.acknowledged),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { p.lands(m, err) }))
	if err != nil {
		return err
	}
	p.late = ackTimeout
	for in.Take(ctx, 1, 0) {
		if ctx.Err() != nil {
			return nil
		}
		p.batch(ctx)
	}
	return nil
}

// publisher is the state of Run. Its goroutine fills slots and publishes them in order; the
// callbacks of the library report the result of each.
type publisher struct {
	*Output
	in     *output.In
	nc     *nats.Conn
	js     jetstream.JetStream
	late   time.Duration // time that an acknowledgement may take
	ready  bool          // the streams exist
	window time.Duration // the shortest of the streams
	stamp  stamp
	slots  [portion]slot
	used   int   // slots of this portion
	todo   []int // slots of this portion to publish, in order

	acked  atomic.Int64
	failed atomic.Bool   // a publish has failed: go on with those that failed first
	landed chan struct{} // holds a token after flying became empty

	mu     sync.Mutex
	flying map[*nats.Msg]int // slots of messages without a result
	again  []int             // slots of those that failed
	gone   bool              // a stream does not exist
	err    error             // why, of the last one
}

// once makes the library leave repeated attempts to us.
var once = []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}

// batch publishes the datagrams of one Take, in portions.
func (p *publisher) batch(ctx context.Context) {
	for pk := range p.in.Packets() {
		if pk.Datagram == nil {
			continue
		}
		p.slots[p.used].fill(pk, p.options.Partitions, &p.stamp)
		p.todo = append(p.todo, p.used)
		p.used++
		p.advance(ctx)
		if p.used == len(p.slots) {
			p.finish(ctx)
		}
	}
	p.finish(ctx)
}

// advance publishes what is to be published until something fails.
func (p *publisher) advance(ctx context.Context) {
	n := 0
	for n < len(p.todo) && p.ready && !p.failed.Load() && ctx.Err() == nil {
		p.publish(ctx, p.todo[n])
		n++
	}
	p.todo = p.todo[:copy(p.todo, p.todo[n:])]
}

func (p *publisher) publish(ctx context.Context, i int) {
	s := &p.slots[i]
	// It is new each time: the library may report a disconnected message twice.
	m := &nats.Msg{Subject: s.subject, Data: s.data, Header: s.header}
	p.mu.Lock()
	p.flying[m] = i
	p.mu.Unlock()
	_, err := p.js.PublishMsgAsync(m, once...)
	for errors.Is(err, jetstream.ErrTooManyStalledMsgs) && !p.failed.Load() && ctx.Err() == nil {
		_, err = p.js.PublishMsgAsync(m, once...)
	}
	if err != nil {
		p.lands(m, err)
	}
}

// finish waits until every datagram of the portion is stored or dropped, or ctx ends.
func (p *publisher) finish(ctx context.Context) {
	fails := false
	for ctx.Err() == nil {
		p.advance(ctx)
		p.wait(ctx)
		p.mu.Lock()
		p.todo = append(p.todo, p.again...)
		p.again = p.again[:0]
		err := p.err
		p.ready = p.ready && !p.gone
		p.err, p.gone = nil, false
		p.mu.Unlock()
		p.failed.Store(false)
		p.in.Sent(int(p.acked.Swap(0)))
		if len(p.todo) == 0 {
			break
		}
		slices.Sort(p.todo)
		if err != nil {
			fails = true
			p.in.Fails(why(p.nc, err))
			p.pause(ctx)
		}
		if !p.ready {
			p.prepare(ctx)
		}
		p.dropOld()
	}
	if n := p.abandon(); n > 0 {
		p.in.Drop(output.Stopped, n)
	} else if !fails {
		p.in.Works()
	}
	p.used = 0
}

// wait waits until every published message has a result, or ctx ends.
func (p *publisher) wait(ctx context.Context) {
	for {
		p.mu.Lock()
		n := len(p.flying)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-p.landed:
		case <-ctx.Done():
			return
		}
	}
}

func (p *publisher) pause(ctx context.Context) {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// dropOld drops datagrams whose message id a stream could have forgotten before a publish
// reaches it.
func (p *publisher) dropOld() {
	limit := time.Now().Add(p.late - p.window)
	n := len(p.todo)
	p.todo = slices.DeleteFunc(p.todo, func(i int) bool { return p.slots[i].born.Before(limit) })
	if n -= len(p.todo); n > 0 {
		p.in.Drop(output.TooOld, n)
	}
}

// abandon forgets the datagrams without a result and returns their number.
func (p *publisher) abandon() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.flying) + len(p.again) + len(p.todo)
	clear(p.flying)
	p.again, p.todo = p.again[:0], p.todo[:0]
	return n
}

// acknowledged is called by the library for each stored message.
func (p *publisher) acknowledged(_ jetstream.JetStream, m *nats.Msg, ack *jetstream.PubAck) {
	if ack.Duplicate {
		p.duplicates.Add(1)
	}
	p.lands(m, nil)
}

// lands records the result of a published message, once.
func (p *publisher) lands(m *nats.Msg, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.flying[m]
	if !ok {
		return
	}
	delete(p.flying, m)
	switch {
	case err == nil:
		p.acked.Add(1)
	case permanent(err):
		p.in.Drop(output.Rejected, 1)
	default:
		p.again = append(p.again, i)
		p.err = err
		p.failed.Store(true)
		p.gone = p.gone || errors.Is(err, jetstream.ErrNoStreamResponse)
	}
	if len(p.flying) == 0 {
		select {
		case p.landed <- struct{}{}:
		default:
		}
	}
}

// note keeps an error of the connection that belongs to no message.
func (p *publisher) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// tooLong is the code of the server's error for a message above a limit of the stream.
const tooLong jetstream.ErrorCode = 10054

// permanent reports whether no stream will ever take the message.
func permanent(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.As(err, &api) && api.ErrorCode == tooLong
}

// prepare makes the streams that do not exist.
func (p *publisher) prepare(ctx context.Context) {
	window, err := p.options.streams(ctx, p.js, p.log)
	if err != nil {
		p.note(err)
		return
	}
	p.ready, p.window = true, window
}
