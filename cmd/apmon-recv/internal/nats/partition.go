package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/backoff"
)

// unpinned is how long the server may take to make this process the active member again,
// after a change of the leader of the consumer. Then another process is.
const unpinned = 2 * time.Second

// loop puts messages until ctx ends or the consumer does. Status is that of the connection.
func (p *partition) loop(ctx, grace context.Context, status <-chan nats.Status) error {
	active := false
	lost := time.NewTimer(0) // runs while this process may not be the active member
	<-lost.C
	defer func() {
		if active && p.handler.Lost != nil && ctx.Err() == nil {
			p.handler.Lost(p.part)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case st, ok := <-status:
			switch {
			case !ok:
				status = nil
			case st == nats.RECONNECTING:
				lost.Reset(p.options.Failover)
			default:
				lost.Stop()
			}
		case <-lost.C:
			p.forget()
			if active && p.handler.Lost != nil {
				p.handler.Lost(p.part)
			}
			active = false
		case <-p.wake:
			p.mu.Lock()
			batch, pin, err := p.queued, p.pin, p.err
			p.queued, p.bytes = nil, 0
			p.mu.Unlock()
			switch {
			case err != nil:
				return err
			case pin != "":
				active = true
				lost.Stop()
			case active:
				lost.Reset(unpinned)
			}
			p.handle(ctx, grace, batch, pin)
		}
	}
}

// forget makes the next message begin where the active member has ended.
func (p *partition) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pin, p.queued, p.bytes = "", nil, 0
}

// handle puts the messages of a batch, waits until the outputs have handled them, and
// acknowledges them. It stops early if ctx ends or this process is no longer the active
// member. Grace is a context for the end.
func (p *partition) handle(ctx, grace context.Context, batch []jetstream.Msg, pin string) {
	var last jetstream.Msg
	for i, m := range batch {
		if m == nil {
			p.begin(ctx, pin)
			continue
		}
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Stream <= p.put {
			continue // the former member has acknowledged it
		}
		if !p.fill(ctx, meta.Sequence.Stream, pin) || !p.deliver(ctx, m.Data(), m.Headers(), meta.Sequence.Stream, meta.Timestamp, len(batch)-1-i) {
			break
		}
		last = m
	}
	if last == nil || !p.handler.Idle(grace) {
		return
	}
	if err := last.Ack(); err != nil {
		return // the messages come again, and are dropped
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = p.put
}

// current reports whether this process is still the active member that pin says.
func (p *partition) current(ctx context.Context, pin string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pin == pin && ctx.Err() == nil
}

// begin finds out, at the beginning of a time as the active member, where the former one has
// ended.
func (p *partition) begin(ctx context.Context, pin string) {
	p.ask(ctx, pin, func(ctx context.Context) error {
		info, err := p.consumer.Info(ctx)
		if err == nil {
			p.advance(info.AckFloor.Stream)
		}
		return err
	})
}

// ask repeats a request until it succeeds; it returns false if this process is no longer the
// active member, or ctx ends.
func (p *partition) ask(ctx context.Context, pin string, request func(context.Context) error) bool {
	for p.current(ctx, pin) {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		err := request(limited)
		cancel()
		if err == nil {
			p.fails(nil)
			return true
		}
		p.fails(why(p.nc, err))
		backoff.Sleep(ctx, retryPause)
	}
	return false
}

// advance records that everything up to a sequence number has been put, here or by a former
// member.
func (p *partition) advance(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put = max(p.put, seq)
}

// fill puts the messages that the stream holds between the last one that was put and the one
// with sequence number end. They were delivered before, to a former member, or to this one
// while its connection was lost; the server delivers them again later, which would change the
// order. It counts those that the stream no longer holds. It returns false if this process is
// no longer the active member, or ctx ends.
func (p *partition) fill(ctx context.Context, end uint64, pin string) bool {
	for p.put+1 < end {
		var raw *jetstream.RawStreamMsg
		if !p.ask(ctx, pin, func(ctx context.Context) (err error) {
			raw, err = p.stream.GetMsg(ctx, p.put+1, jetstream.WithGetMsgSubject(">"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			return err
		}) {
			return false
		}
		if raw == nil || raw.Sequence >= end {
			p.missed(end)
			break
		}
		p.missed(raw.Sequence)
		if !p.deliver(ctx, raw.Data, raw.Header, raw.Sequence, raw.Time, 1) {
			return false
		}
	}
	return p.current(ctx, pin)
}

// missed counts the messages before the one with a sequence number as missed.
func (p *partition) missed(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Missed += seq - p.put - 1
	p.put = seq - 1
}

// deliver puts the datagram of a message. One that cannot be decoded is a refused packet.
func (p *partition) deliver(ctx context.Context, data []byte, h nats.Header, seq uint64, stored time.Time, more int) bool {
	from, received := origin(h, stored)
	pk := receiver.Packet{From: from, Received: received, Raw: data, Waiting: more}
	pk.Decode(&p.datagram, nil)
	if !p.handler.Put(ctx, &pk) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put = seq
	p.stats.Consumed++
	return true
}

// leave lets a standby take over at once.
func (p *partition) leave(ctx context.Context) {
	p.mu.Lock()
	active := p.pin != ""
	p.mu.Unlock()
	p.forget()
	if active {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_ = p.stream.UnpinConsumer(ctx, p.options.Consumer, group)
	}
}
