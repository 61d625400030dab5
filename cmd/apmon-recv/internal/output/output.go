// Package output carries received datagrams to the outputs of apmon-recv.
//
// Each output runs in a goroutine of its own behind a bounded queue. An output that is slow,
// or whose server is down or hostile, loses datagrams, counted by cause; it never delays the
// sockets or another output. A queue holds datagrams as they were received, and the output
// decodes them once more: a copy of the bytes and 100 ns instead of a deep copy.
//
//	set.Offer(packet)              from a socket: never waits, drops with a count
//	set.Put(ctx, packet)           from a consumer that can be paused: waits for room
//	set.Idle(ctx)                  waits until the outputs have handled all of it
package output

import (
	"context"
	"iter"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/queue"
	"github.com/apmon-go/apmon/xdr"
)

// Output takes datagrams to one place.
type Output interface {
	// Name says what kind of output it is and where it leads, as "influx http://host:8086".
	// It identifies the output in the log and in metrics, and contains no password or token.
	Name() string
	// Run handles the datagrams of in until Take returns false: either the queue is closed
	// and empty, or ctx has ended and what is left is lost. It returns an error only if the
	// output cannot go on for good.
	Run(ctx context.Context, in *In) error
}

// Reopener is an output that does something on SIGHUP, such as to begin a new file.
type Reopener interface{ Reopen() }

// In is what an output reads from, and where it reports how it fares.
type In struct {
	*State
	queue *queue.Queue
	batch queue.Batch
	d     xdr.Datagram
	p     receiver.Packet
}

// Take gives up the datagrams of the last Take, which have then been handled, and waits
// until at least the given number is queued, or one is and the time has passed. It returns
// false when there will be no more.
func (in *In) Take(ctx context.Context, atLeast int, within time.Duration) bool {
	return in.queue.Take(ctx, &in.batch, atLeast, within)
}

// Len returns the number of datagrams of the last Take.
func (in *In) Len() int { return len(in.batch.Items) }

// Packets returns the datagrams of the last Take, in the order of arrival, including refused
// ones. A packet is valid until the next; xdr.Parse of its Raw makes a copy. It can be
// called again for the same batch.
func (in *In) Packets() iter.Seq[*receiver.Packet] {
	return func(yield func(*receiver.Packet) bool) {
		for i := range in.batch.Items {
			it := &in.batch.Items[i]
			in.p = receiver.Packet{From: it.From, Received: it.At, Raw: it.Data, Waiting: len(in.batch.Items) - 1 - i}
			in.p.Decode(&in.d, it.Err)
			if !yield(&in.p) {
				return
			}
		}
	}
}
