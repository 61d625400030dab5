package relay

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/xdr"
)

// Regrouping. The MonALISA service accepts about 45 datagrams per second from one address and
// drops the others in silence. Many small senders behind one address are above that soon. So
// the parameters of the datagrams with the same cluster, node, password and time that arrive
// within the hold are sent together, in the order of arrival, two values of one parameter too,
// in as few datagrams as they fit into, with an instance id and sequence numbers of the relay.
//
// All together are sent at rate. The group that waits longest goes first. N nodes need at
// least N/rate seconds for a turn: then groups wait longer than the hold, and grow
// meanwhile. The time that they wait is in Stats.Hold; what waits more than a second longer than the
// hold is counted in Stats.Late.

const (
	// rate is below the 45 datagrams per second that the service accepts.
	rate = 44
	// maxHeld is the number of bytes of parameters that are held; more are dropped.
	maxHeld = 64 << 20
	// tolerance is the time after the hold from which a datagram counts as late.
	tolerance = time.Second
)

// HeldFull is the cause of datagrams for which there is no memory: more arrives than can be
// sent.
const HeldFull = "held_full"

// TooLarge is the cause of datagrams with a parameter that no datagram of the relay can carry.
const TooLarge = "too_large"

// key is what the datagrams of a group have in common.
type key struct {
	cluster, node, password string
	timed                   bool
	time                    int32
}

// group is the datagrams of a key.
type group struct {
	key
	first    time.Time // when the first one arrived
	arrivals []time.Time
	params   []xdr.Param
	bytes    int
}

// regrouping is the state between the goroutine that takes datagrams and the one that sends.
type regrouping struct {
	mu     sync.Mutex
	groups map[key]*group
	order  []*group // by the time of the first datagram
	bytes  int
	closed bool
	wake   chan struct{} // holds a token after a group was begun, or the input has ended
}

func (o *Output) regroup(ctx context.Context, in *output.In) error {
	r := &regrouping{groups: make(map[key]*group), wake: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { o.sendGroups(ctx, in, r) })
	for in.Take(ctx, 1, 0) {
		for p := range in.Packets() {
			if p.Datagram != nil && o.passes(in, p) && !r.add(p.Datagram, p.Received) {
				in.Drop(HeldFull, 1)
			}
		}
	}
	r.end()
	wg.Wait()
	return nil
}

// add adds a datagram to its group. It reports false if there is no memory for it.
func (r *regrouping) add(d *xdr.Datagram, at time.Time) bool {
	k := key{d.Cluster, d.Node, d.Password, d.Timed, d.Time}
	r.mu.Lock()
	defer r.mu.Unlock()
	size := 64 // of the time of arrival and some of the rest
	for i := range d.Params {
		size += 64 + len(d.Params[i].Name) + len(d.Params[i].Text())
	}
	g := r.groups[k]
	if g == nil {
		size += 256 + 2*(len(k.cluster)+len(k.node)+len(k.password))
	}
	if r.bytes+size > maxHeld {
		return false
	}
	if g == nil {
		k.cluster, k.node, k.password = strings.Clone(k.cluster), strings.Clone(k.node), strings.Clone(k.password)
		g = &group{key: k, first: at}
		r.groups[k] = g
		r.order = append(r.order, g)
		if len(r.order) == 1 { // others wait behind the first
			r.wakeUp()
		}
	}
	g.arrivals = append(g.arrivals, at)
	for i := range d.Params {
		g.params = append(g.params, clone(&d.Params[i]))
	}
	g.bytes += size
	r.bytes += size
	return true
}

// clone returns a parameter that does not refer to a datagram.
func clone(p *xdr.Param) xdr.Param {
	if p.Type() == xdr.TypeString {
		return xdr.String(strings.Clone(p.Name), strings.Clone(p.Text()))
	}
	c := *p
	c.Name = strings.Clone(p.Name)
	return c
}

// end makes next return what is held.
func (r *regrouping) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wakeUp()
}

func (r *regrouping) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// next waits until a group has been held long enough and returns it. After the end of the
// input it returns the others at once, and then nil. It returns nil also if the context ends.
func (r *regrouping) next(ctx context.Context, hold time.Duration) *group {
	for {
		var due <-chan time.Time
		r.mu.Lock()
		if len(r.order) > 0 {
			g := r.order[0]
			wait := time.Until(g.first.Add(hold))
			if wait <= 0 || r.closed {
				r.order[0] = nil
				r.order = r.order[1:]
				delete(r.groups, g.key)
				r.bytes -= g.bytes
				r.mu.Unlock()
				return g
			}
			t := time.NewTimer(wait)
			defer t.Stop()
			due = t.C
		} else if r.closed {
			r.mu.Unlock()
			return nil
		}
		r.mu.Unlock()
		select {
		case <-due:
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// held counts the datagrams that were not sent.
func (r *regrouping) held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, g := range r.order {
		n += len(g.arrivals)
	}
	return n
}

// sendGroups sends the groups at rate until the input has ended and all are sent, or the
// context ends.
func (o *Output) sendGroups(ctx context.Context, in *output.In, r *regrouping) {
	s := sender{instance: rand.Int32(), pace: time.NewTicker(time.Second / rate)}
	defer s.pace.Stop()
	for g := r.next(ctx, o.options.Regroup); g != nil; g = r.next(ctx, o.options.Regroup) {
		n := len(g.arrivals)
		lost := s.encode(g)
		if lost > 0 {
			in.Drop(TooLarge, lost)
		}
		if lost == n {
			continue
		}
		if err := s.send(ctx, g, o.write); ctx.Err() != nil {
			in.Drop(output.Stopped, n-lost)
		} else if err != nil {
			in.Fails(err)
			in.Drop(SendFailed, n-lost)
		} else {
			in.Works()
			in.Sent(n - lost)
		}
		now, late := time.Now(), 0
		for _, at := range g.arrivals {
			if now.Sub(at) > o.options.Regroup+tolerance {
				late++
			}
		}
		in.Held(now.Sub(g.first), late)
	}
	in.Drop(output.Stopped, r.held())
}

// sender sends groups as one process.
type sender struct {
	instance, seq int32
	pace          *time.Ticker
	encoder       xdr.Encoder
	prefix        []byte
}

// encode encodes the parameters of a group into datagrams. It returns how many of the
// datagrams of the group count as lost, because no datagram can carry one of their
// parameters, or the names leave no room for any.
func (s *sender) encode(g *group) (lost int) {
	room := 64 + len(g.password) // of the header
	err := error(nil)
	if g.timed {
		err = s.encoder.BeginTimed(room, 0, g.cluster, g.node, g.time)
	} else {
		err = s.encoder.Begin(room, 0, g.cluster, g.node)
	}
	if err != nil {
		return len(g.arrivals)
	}
	for i := range g.params {
		if s.encoder.Add(&g.params[i]) != nil {
			lost++
		}
	}
	s.encoder.End()
	return min(lost, len(g.arrivals))
}

// send sends the datagrams of the last encode, each in its turn. An error of one does not keep
// it from sending the others; send returns the last one.
func (s *sender) send(ctx context.Context, g *group, write func(context.Context, int, []byte) error) error {
	var failed error
	for i := range s.encoder.Len() {
		select {
		case <-s.pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.seq = (s.seq + 1) % xdr.SeqModulus
		s.prefix = xdr.AppendPrefix(s.prefix[:0], xdr.Version, g.password, s.instance, s.seq)
		if err := write(ctx, 0, s.encoder.Datagram(i, s.prefix)); err != nil {
			failed = err
		}
	}
	return failed
}
