package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/xdr"
)

const (
	// unacked is the number of messages that the active member of a partition holds without
	// acknowledgement: those that wait for the outputs and those that the outputs handle. It
	// is more than an output collects before it does something.
	unacked = output.QueueLen / 2
	// maxQueued is the size in bytes of messages of a partition that wait for the outputs.
	maxQueued = 32 << 20
	// group is the only priority group of a consumer.
	group = "active"
	// lastWords is how long the end of ctx leaves for outputs to handle what they have.
	lastWords = 5 * time.Second
)

// Handler is where the consumer puts datagrams.
type Handler struct {
	// Put takes a datagram, and may wait: consumption of the partition pauses. The packet is
	// valid during the call. It is called for several partitions at once. It returns false
	// if ctx ends before.
	Put func(ctx context.Context, p *receiver.Packet) bool
	// Idle waits until what was put has been handled; then it is acknowledged. It returns
	// false if ctx ends before.
	Idle func(ctx context.Context) bool
	// Lost, if not nil, is called when this process is no longer the active member of a
	// partition: another process goes on with the series of its nodes, see [subjects.Partition].
	Lost func(part int)
	// Log, if not nil, receives changes of the state.
	Log *slog.Logger
}

// ConsumeStats are the counts of a consumer since it was started.
type ConsumeStats struct {
	// Consumed counts the messages that were put.
	Consumed uint64
	// Redelivered counts messages that came again although they had been put before; they
	// were dropped.
	Redelivered uint64
	// Missed counts jumps in the sequence numbers of streams: messages that a stream dropped
	// for their age or its size before they were consumed.
	Missed uint64
	// Active is the number of partitions of which this process is the active member.
	Active int
	// Pending is the number of messages that the streams of these partitions hold and that
	// were not delivered yet, as of the last message.
	Pending uint64
}

// Consumer takes datagrams from streams. Use [NewConsumer].
type Consumer struct {
	options ConsumeOptions
	handler Handler
	parts   []*partition
}

// NewConsumer returns a consumer.
func NewConsumer(o ConsumeOptions, h Handler) (*Consumer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.defaults()
	if h.Log == nil {
		h.Log = slog.New(slog.DiscardHandler)
	}
	c := &Consumer{options: o, handler: h}
	for part := range o.Partitions {
		c.parts = append(c.parts, &partition{Consumer: c, part: part, wake: make(chan struct{}, 1)})
	}
	return c, nil
}

// Name says where the streams are.
func (c *Consumer) Name() string { return "from-nats " + c.options.name() }

// Stats returns the counts so far.
func (c *Consumer) Stats() ConsumeStats {
	var sum ConsumeStats
	for _, p := range c.parts {
		p.mu.Lock()
		sum.Consumed += p.stats.Consumed
		sum.Redelivered += p.stats.Redelivered
		sum.Missed += p.stats.Missed
		if p.pin != "" {
			sum.Active++
			sum.Pending += p.stats.Pending
		}
		p.mu.Unlock()
	}
	return sum
}

// Run consumes all partitions until ctx ends. It connects, and waits for streams, in the
// background. A durable consumer that does not exist is created, and starts at the oldest
// message.
//
// Of all processes that consume a partition one is active: it gets the messages, in order.
// The others wait until it has been silent for the time Failover. Then one of them begins
// after the last message that was acknowledged: messages that the former had put, but not
// acknowledged, are put again there. Within one process no message is put twice, and none
// after a later one.
//
// When ctx ends, messages already put are handled and acknowledged, and a standby may take
// over at once.
func (c *Consumer) Run(ctx context.Context) error {
	nc, err := c.options.connect(func(err error) { c.handler.Log.Warn("NATS reports", "input", c.Name(), "err", err) })
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, p := range c.parts {
		p.nc, p.js = nc, js
		wg.Go(func() { p.run(ctx) })
	}
	wg.Wait()
	return nil
}

// partition consumes one stream.
type partition struct {
	*Consumer
	part int
	nc   *nats.Conn
	js   jetstream.JetStream

	stream   jetstream.Stream
	consumer jetstream.Consumer
	created  time.Time // of the stream
	problem  string    // the last one that was logged
	datagram xdr.Datagram

	wake chan struct{} // holds a token after queued, pin or err changed

	// The callbacks of the library append to queued, which the goroutine of run takes.
	mu     sync.Mutex
	queued []jetstream.Msg
	bytes  int    // of queued
	pin    string // the id by which the server knows this process as the active member
	taken  uint64 // the stream sequence of the last message of pin that was queued
	put    uint64 // that of the last message that was put; only the goroutine of run sets it
	acked  uint64 // that of the last message that was acknowledged
	err    error  // why the consumer has ended
	stats  ConsumeStats
}

// run consumes until ctx ends.
func (p *partition) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.session(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.fails(why(p.nc, err))
		backoff.Sleep(ctx, time.Second)
	}
}

// fails logs an error, unless it is the same as the last one; nil is none.
func (p *partition) fails(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == p.problem:
	case err != nil:
		p.handler.Log.Warn("input fails", "input", p.Name(), "partition", p.part, "err", err)
	default:
		p.handler.Log.Info("input works again", "input", p.Name(), "partition", p.part)
	}
	p.problem = text
}

// session finds or makes the consumer and consumes until it ends, or ctx.
func (p *partition) session(ctx context.Context) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	expiry := p.options.Failover / 3
	cc, err := p.consumer.Consume(p.queue,
		jetstream.PullMaxMessages(unacked/2),
		jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(expiry/2),
		jetstream.PullPriorityGroup(group),
		jetstream.ConsumeErrHandler(p.consumeError))
	if err != nil {
		return err
	}
	grace, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cancel) })()
	defer func() {
		cc.Stop()
		<-cc.Closed()
		p.leave(grace)
	}()
	p.fails(nil)
	status := p.nc.StatusChanged(nats.RECONNECTING, nats.CONNECTED)
	defer p.nc.RemoveStatusListener(status)
	return p.loop(ctx, grace, status)
}

// open finds the stream and its consumer, which it makes if it does not exist.
func (p *partition) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name := p.options.partition(p.part)
	s, err := p.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	c, err := s.Consumer(ctx, p.options.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:        p.options.Consumer,
			DeliverPolicy:  jetstream.DeliverAllPolicy,
			AckPolicy:      jetstream.AckAllPolicy,
			AckWait:        p.options.Failover,
			MaxAckPending:  unacked,
			PriorityPolicy: jetstream.PriorityPolicyPinned,
			PriorityGroups: []string{group},
			PinnedTTL:      p.options.Failover,
		})
	}
	if err != nil {
		return fmt.Errorf("consumer %s of stream %s: %w", p.options.Consumer, name, err)
	}
	if have := c.CachedInfo().Config; have.PriorityPolicy != jetstream.PriorityPolicyPinned || have.AckPolicy != jetstream.AckAllPolicy {
		return fmt.Errorf("consumer %s of stream %s was not made by apmon-recv: it has other policies", p.options.Consumer, name)
	}
	p.stream, p.consumer = s, c
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = nil
	if created := s.CachedInfo().Created; !created.Equal(p.created) { // its numbers begin again
		p.created, p.put, p.acked = created, 0, 0
	}
	return nil
}

// signal wakes the goroutine of run.
func (p *partition) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// queue is called by the library for each message, and does not wait: the library renews the
// pin between messages. The number of messages without acknowledgement bounds the queue. One
// that does not fit is left out, and fetched again when it is its turn.
func (p *partition) queue(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return // not from a stream
	}
	seq := meta.Sequence.Stream
	p.mu.Lock()
	defer p.mu.Unlock()
	if pin := m.Headers().Get("Nats-Pin-Id"); pin != p.pin {
		p.pin, p.taken = pin, 0
		p.queued, p.bytes = append(p.queued[:0], nil), 0 // nil: look where the former member ended
	}
	p.stats.Pending = meta.NumPending
	switch {
	case seq <= p.acked:
		_ = m.Ack() // the acknowledgement was lost
		p.stats.Redelivered++
	case seq <= max(p.taken, p.put):
		p.stats.Redelivered++
	case p.bytes+len(m.Data()) <= maxQueued:
		p.taken = seq
		p.queued = append(p.queued, m)
		p.bytes += len(m.Data())
		p.signal()
	}
}

// consumeError is called by the library for events.
func (p *partition) consumeError(_ jetstream.ConsumeContext, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, jetstream.ErrPinIDMismatch):
		p.pin, p.queued, p.bytes = "", nil, 0
		p.signal()
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound),
		errors.Is(err, jetstream.ErrBadRequest), errors.Is(err, jetstream.ErrConnectionClosed):
		p.err = err
		p.signal()
	}
}
