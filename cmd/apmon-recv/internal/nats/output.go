package nats

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/backoff"
)

// retryPause is the time between two attempts to publish.
const retryPause = 250 * time.Millisecond

// Output publishes datagrams to streams. Use [New].
type Output struct {
	options Options
	log     *slog.Logger
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

// Run publishes accepted datagrams. It connects in the background, and makes missing streams.
// A failed publish is repeated with the same message id until the datagram is older than the
// duplicate window less the time that an acknowledgement may take; then it is dropped as
// too_old. A message that is too long for the stream is dropped as rejected.
func (o *Output) Run(ctx context.Context, in *output.In) error {
	p := &publisher{
		window: newWindow(min(maxAckTimeout, o.options.Window/6)),
		o:      o, in: in,
		keeps: o.options.Window,
	}
	nc, err := o.options.connect(p.window.note, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { p.window.lapse(err) }))
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := p.window.open(nc); err != nil {
		return err
	}
	p.js, err = jetstream.New(nc)
	if err != nil {
		return err
	}
	for in.Take(ctx, 1, 0) {
		if ctx.Err() != nil {
			return nil
		}
		p.batch(ctx)
	}
	return nil
}

// publisher is the state of Run.
type publisher struct {
	window *window
	o      *Output
	in     *output.In
	js     jetstream.JetStream
	ready  bool          // the streams exist
	keeps  time.Duration // for how long all streams recognize a message id
	stamp  stamp
	todo   []int // slots of the window that are to be published, in order
}

// batch publishes the datagrams of one Take, in portions that fill the window.
func (p *publisher) batch(ctx context.Context) {
	now := time.Now()
	limit := p.oldest(now)
	for pk := range p.in.Packets() {
		if pk.Datagram == nil {
			continue
		}
		born := pk.Received
		if born == born.Round(0) {
			// It has no monotonic clock: it was not read from a socket by this process, but
			// consumed from a stream, where it may be old.
			born = now
		}
		if born.Before(limit) {
			p.in.Drop(output.TooOld, 1)
			continue
		}
		i := p.window.add()
		p.window.slots[i].fill(pk, born, p.o.options.Partitions, &p.stamp)
		p.todo = append(p.todo, i)
		p.advance(ctx)
		if i == portion-1 {
			p.finish(ctx)
		}
	}
	p.finish(ctx)
}

// advance publishes what is to be published, in order, until something fails.
func (p *publisher) advance(ctx context.Context) {
	n := 0
	for n < len(p.todo) && p.ready && p.window.publish(ctx, p.todo[n]) {
		n++
	}
	p.todo = p.todo[:copy(p.todo, p.todo[n:])]
}

// finish waits until every datagram of the portion is stored or dropped, or ctx ends.
func (p *publisher) finish(ctx context.Context) {
	var r result
	for {
		p.advance(ctx)
		p.todo, r = p.window.wait(ctx, p.todo[:0])
		p.in.Sent(r.stored)
		p.in.Duplicates(r.duplicate)
		if r.refused > 0 {
			p.in.Drop(output.Rejected, r.refused)
		}
		if len(p.todo) == 0 || ctx.Err() != nil {
			break
		}
		if errors.Is(r.err, jetstream.ErrNoStreamResponse) {
			p.ready = false
		}
		if r.err != nil {
			p.in.Fails(r.err)
			backoff.Sleep(ctx, retryPause)
		}
		if !p.ready {
			p.prepare(ctx)
		}
		p.dropOld()
	}
	if len(p.todo) > 0 {
		p.in.Drop(output.Stopped, len(p.todo))
	} else if r.stored > 0 && r.err == nil {
		p.in.Works()
	}
	p.todo = p.todo[:0]
	p.window.clear()
}

// prepare makes the streams that do not exist.
func (p *publisher) prepare(ctx context.Context) {
	keeps, err := p.o.options.streams(ctx, p.js, p.o.log)
	if err != nil {
		p.window.note(err)
		return
	}
	p.ready, p.keeps = true, keeps
}

// oldest returns the time from which on datagrams are published. A stream could have forgotten
// the message id of an older one, which another receiver has stored, before a publish reaches
// it.
func (p *publisher) oldest(now time.Time) time.Time { return now.Add(p.window.patience - p.keeps) }

// dropOld drops datagrams that are too old to publish.
func (p *publisher) dropOld() {
	limit := p.oldest(time.Now())
	n := 0
	for _, i := range p.todo {
		if !p.window.slots[i].born.Before(limit) {
			p.todo[n] = i
			n++
		} else {
			p.window.drop(i)
		}
	}
	if old := len(p.todo) - n; old > 0 {
		p.in.Drop(output.TooOld, old)
	}
	p.todo = p.todo[:n]
}
