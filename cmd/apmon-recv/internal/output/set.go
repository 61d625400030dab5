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

// endTime is how long an output may take to return after its context has ended. One that hangs
// in a system call, such as a write to a full pipe, is left behind.
const endTime = time.Second

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
	s.each(l, func(r *running) bool {
		if r.in.queue.Offer(item(p)) == 1 {
			r.in.taken.Add(1)
			return true
		}
		if r.in.queue.Closed() {
			return false
		}
		r.in.Drop(QueueFull, 1)
		return true
	})
}

// Put hands a datagram to all outputs and waits until each queue has room. It returns false
// if the context ends before.
func (s *Set) Put(ctx context.Context, p *receiver.Packet) bool {
	l := s.get()
	for _, k := range l.sinks {
		k.Offer(p)
	}
	s.each(l, func(r *running) bool {
		if r.in.queue.Put(ctx, item(p)) {
			r.in.taken.Add(1)
			return true
		}
		return ctx.Err() != nil
	})
	return ctx.Err() == nil
}

// each calls offer for the outputs of l. It returns false for one that takes no more. If that
// is so because the outputs have been swapped meanwhile, the new ones are offered the datagram,
// so that a reload loses none.
func (s *Set) each(l *list, offer func(*running) bool) {
	var closed []*running // none, almost always
	for _, r := range l.running {
		if !offer(r) {
			closed = append(closed, r)
		}
	}
	if len(closed) == 0 {
		return
	}
	next := s.get()
	if next == l {
		for _, r := range closed {
			r.in.Drop(Stopped, 1) // it has failed for good
		}
		return
	}
	for _, r := range next.running {
		if !slices.Contains(l.running, r) && !offer(r) {
			r.in.Drop(Stopped, 1)
		}
	}
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
// value) go on; the others are closed: they still handle what they hold, until ctx ends. Swap
// waits for that, and a little longer, but not for one that hangs. A new output with the name of
// a closed one, which writes to the same place, begins when that one has ended.
func (s *Set) Swap(ctx context.Context, outputs []Output, sinks []Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.get().running
	var closed []*running
	for _, r := range old {
		if !slices.Contains(outputs, r.output) {
			closed = append(closed, r)
		}
	}
	next := &list{sinks: sinks}
	for _, o := range outputs {
		i := slices.IndexFunc(old, func(r *running) bool { return r.output == o })
		if i >= 0 {
			next.running = append(next.running, old[i])
			continue
		}
		next.running = append(next.running, s.start(o, closed))
	}
	s.list.Store(next)
	for _, r := range closed {
		r.in.queue.Close()
	}
	stop(ctx, closed)
}

// start starts an output when those of closed that have its name have ended.
func (s *Set) start(o Output, closed []*running) *running {
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
		for _, before := range closed {
			if before.in.name != r.in.name {
				continue
			}
			select {
			case <-before.done:
			case <-ctx.Done():
				return
			}
		}
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

// stop waits until closed outputs have handled their queues, at most until ctx ends, and then
// ends them.
func stop(ctx context.Context, closed []*running) {
	for _, r := range closed {
		select {
		case <-r.done:
		case <-ctx.Done():
		}
	}
	for _, r := range closed {
		r.cancel()
	}
	late, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	for _, r := range closed {
		select {
		case <-r.done:
		case <-late.Done():
		}
		if n, _ := r.in.queue.Len(); n > 0 {
			r.in.Drop(Stopped, n)
			if !r.in.ended() {
				r.in.log.Warn("output stopped", "output", r.in.name, "lost", n)
			}
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
	all := stats(last)
	for i := range all {
		all[i].Queued, all[i].QueuedBytes = 0, 0 // it is in Dropped now
	}
	return all
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
	if c.Duplicate > 0 {
		s += fmt.Sprintf("; %d stored before", c.Duplicate)
	}
	if c.Hold > 0 {
		s += fmt.Sprintf("; held for %v, %d late", c.Hold.Round(time.Millisecond), c.Late)
	}
	if c.Error != "" {
		s += fmt.Sprintf("; failing since %s: %s", c.Since.Format("15:04:05"), c.Error)
	}
	return s
}
