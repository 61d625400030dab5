package output

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/queue"
)

// Bounds of the queue of an output.
const (
	QueueLen   = 1 << 16  // datagrams
	QueueBytes = 32 << 20 // bytes of memory
)

// Sink takes datagrams at once, in the goroutine that received them: it never waits.
type Sink interface{ Offer(p *receiver.Packet) }

// running is an output that was started.
type running struct {
	output Output
	in     *In
	ctx    context.Context    // of Run, ended when it has returned
	cancel context.CancelFunc // ends Run without regard to the queue
	done   chan struct{}      // closed when Run has returned
}

// Set is the outputs and sinks that datagrams go to. The zero value has none. Its methods
// are safe for concurrent use.
type Set struct {
	// Log receives the failures of outputs; nil discards them.
	Log *slog.Logger
	// Failed, if not nil, is called when an output ends for good with an error, which is not
	// logged.
	Failed func(o Output, err error)

	mu   sync.Mutex // of changes
	list atomic.Pointer[list]
}

type list struct {
	running []*running
	sinks   []Sink
}

func (s *Set) get() *list {
	if l := s.list.Load(); l != nil {
		return l
	}
	return &list{}
}

// Offer hands a datagram to all outputs. It never waits: an output whose queue is full
// loses it, with a count.
func (s *Set) Offer(p *receiver.Packet) {
	l := s.get()
	for _, k := range l.sinks {
		k.Offer(p)
	}
	for _, r := range l.running {
		if r.in.queue.Offer(item(p)) == 1 {
			r.in.taken(1)
		} else {
			r.in.Drop(QueueFull, 1)
		}
	}
}

// Put hands a datagram to all outputs and waits until each queue has room. It returns false
// if the context ends before.
func (s *Set) Put(ctx context.Context, p *receiver.Packet) bool {
	l := s.get()
	for _, k := range l.sinks {
		k.Offer(p)
	}
	for _, r := range l.running {
		if !r.in.queue.Put(ctx, item(p)) {
			if ctx.Err() != nil {
				return false
			}
			continue // it has been stopped
		}
		r.in.taken(1)
	}
	return true
}

func item(p *receiver.Packet) queue.Item {
	it := queue.Item{From: p.From, At: p.Received, Data: p.Raw}
	if p.Datagram == nil {
		it.Err = p.Err
	}
	return it
}

// Idle waits until every output has handled, that is delivered or dropped with a count, what
// was handed to it before. It returns false if the context ends before.
func (s *Set) Idle(ctx context.Context) bool {
	for _, r := range s.get().running {
		if !r.idle(ctx) {
			return false
		}
	}
	return true
}

// idle waits until the output has handled what was handed to it before, or has ended. It
// returns false if the context ends before.
func (r *running) idle(ctx context.Context) bool {
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	return r.in.queue.Idle(either) || ctx.Err() == nil
}

// Swap makes these the outputs and sinks. Outputs of the set that are among them (the same
// value) go on; the others are closed: they still handle what they hold, until ctx ends.
// Swap waits for that.
func (s *Set) Swap(ctx context.Context, outputs []Output, sinks []Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.get().running
	next := &list{sinks: sinks}
	for _, o := range outputs {
		i := slices.IndexFunc(old, func(r *running) bool { return r.output == o })
		if i >= 0 {
			next.running = append(next.running, old[i])
			continue
		}
		next.running = append(next.running, s.start(o))
	}
	s.list.Store(next)
	for _, r := range old {
		if !slices.Contains(next.running, r) {
			r.in.queue.Close()
			defer r.stop(ctx)
		}
	}
}

// start starts an output.
func (s *Set) start(o Output) *running {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		output: o,
		in:     &In{State: &State{log: log, name: o.Name()}, queue: queue.New(QueueLen, QueueBytes)},
		ctx:    ctx,
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		err := o.Run(ctx, r.in)
		r.in.queue.Close()
		cancel()
		if err != nil {
			r.in.end(err)
			if s.Failed != nil {
				s.Failed(o, err)
			}
		}
	}()
	return r
}

// stop waits until a closed output has handled its queue, at most until ctx ends.
func (r *running) stop(ctx context.Context) {
	select {
	case <-r.done:
	case <-ctx.Done():
		r.cancel()
		<-r.done
	}
	r.cancel()
	if n, _ := r.in.queue.Len(); n > 0 {
		r.in.Drop(Stopped, n)
		if !r.in.ended() {
			r.in.log.Warn("output stopped", "output", r.in.name, "lost", n)
		}
	}
}

// Reopen is called on SIGHUP.
func (s *Set) Reopen() {
	for _, r := range s.get().running {
		if o, ok := r.output.(Reopener); ok {
			o.Reopen()
		}
	}
}

// Close ends all outputs as Swap does, and returns their last counts.
func (s *Set) Close(ctx context.Context) []Stats {
	last := s.get().running
	s.Swap(ctx, nil, nil)
	return stats(last)
}

// Stats returns the counts of each output, in the order of the set.
func (s *Set) Stats() []Stats { return stats(s.get().running) }

func stats(list []*running) []Stats {
	var all []Stats
	for _, r := range list {
		c := r.in.snapshot()
		c.Output = r.in.name
		c.Queued, c.QueuedBytes = r.in.queue.Len()
		all = append(all, c)
	}
	return all
}

// String returns the state of an output in one line for people.
func (c Stats) String() string {
	lost := uint64(0)
	for _, n := range c.Dropped {
		lost += n
	}
	s := fmt.Sprintf("%s: %d sent, %d waiting, %d lost", c.Output, c.Sent, c.Queued, lost)
	if lost > 0 {
		s += fmt.Sprintf(" %v", c.Dropped)
	}
	if c.Hold > 0 {
		s += fmt.Sprintf("; held for %v, %d late", c.Hold.Round(time.Millisecond), c.Late)
	}
	if c.Error != "" {
		s += fmt.Sprintf("; failing since %s: %s", c.Since.Format("15:04:05"), c.Error)
	}
	return s
}
