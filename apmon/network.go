package apmon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

const (
	// maxLookups is the number of look-ups under way at once.
	maxLookups = 32
	// maxForgotten is the number of former destinations that are kept, so that their
	// sequence numbers continue if they are used again.
	maxForgotten = 10_000
)

// network is the set of destinations: it looks names up, makes sockets, and swaps the
// set. It reports failures through a func.
type network struct {
	common
	instance int32
	// set is the set that senders use. A reload swaps it as a whole; it is never
	// changed.
	set atomic.Pointer[set]
	mu  sync.Mutex // held while the set is replaced
	// all holds every destination that has been in the set, by name. Only change
	// and close use it, and they are never called concurrently.
	all       map[string]*destination
	resolving chan struct{} // a token for each look-up under way
}

// set is the destinations of one moment.
type set struct {
	targets []target
	room    int // bytes of the longest prefix
}

// init prepares a network without destinations, which lasts until ctx ends. All sets
// leave room for a prefix of the given length.
func (n *network) init(ctx context.Context, instance int32, room int) {
	n.ctx, n.instance = ctx, instance
	n.all, n.resolving = map[string]*destination{}, make(chan struct{}, maxLookups)
	n.start = time.Now()
	n.set.Store(&set{room: room})
}

// close closes the sockets and waits for look-ups; their context has ended.
func (n *network) close() {
	for _, d := range n.all {
		d.close()
	}
	n.wg.Wait()
}

// change replaces the set by the given destinations, each with the tag that
// tagOf returns for its name. First it looks up the names that are due, for 5 s
// at most or until ctx ends. A message that is being sent goes to either the old
// set or the new one. Destinations that stay keep everything but their password.
//
// If no new destination has an address, but an old one does, change changes nothing
// and returns the new names and false.
func (n *network) change(ctx context.Context, to []conf.Destination, room int, tagOf func(name string) tag) (names string, ok bool) {
	next := &set{room: room}
	in := map[string]bool{}
	for _, cd := range to {
		name := cd.Name()
		in[name] = true
		d := n.all[name]
		if d == nil {
			d = newDestination(cd, &n.common)
			n.all[name] = d
		}
		d.use()
		prefix := xdr.AppendPrefix(nil, xdr.Version, cd.Password, n.instance, 0)
		next.targets = append(next.targets, target{destination: d, tag: tagOf(name), prefix: prefix})
		next.room = max(next.room, len(prefix))
	}
	n.lookupAll(ctx, next)
	if old := n.set.Load(); !next.resolved() && old.resolved() {
		return next.names(0), false
	}
	n.mu.Lock()
	next.findTwins()
	n.set.Store(next)
	n.mu.Unlock()
	for name, d := range n.all {
		if !in[name] {
			d.retire()
		}
	}
	n.forget(in)
	return "", true
}

// forget removes former destinations if there are too many.
func (n *network) forget(in map[string]bool) {
	if len(n.all) <= len(in)+maxForgotten {
		return
	}
	for name := range n.all {
		if !in[name] {
			delete(n.all, name)
		}
	}
}

// lookupAll starts the look-ups that are due, and returns when they have ended,
// after 5 s, or when ctx ends. Late look-ups continue in the background.
func (n *network) lookupAll(ctx context.Context, s *set) {
	done := make(chan struct{}, len(s.targets))
	started := 0
	for _, t := range s.targets {
		if _, due := t.ready(); due {
			started++
			n.lookup(t.destination, done)
		}
	}
	if started == 0 {
		return // without a timer, which would start the runtime's poller
	}
	timeout, stop := context.WithTimeout(ctx, resolveTimeout)
	defer stop()
	for range started {
		select {
		case <-done:
		case <-timeout.Done():
			return
		}
	}
}

// lookup resolves one destination's name in a goroutine of its own, after
// [destination.ready] has reported that a look-up is due. Done may be nil.
func (n *network) lookup(d *destination, done chan<- struct{}) {
	go func() {
		defer n.wg.Done()
		// Deferred, since the resolver may end the goroutine.
		defer func() {
			if done != nil {
				done <- struct{}{}
			}
		}()
		select {
		case n.resolving <- struct{}{}:
			defer func() { <-n.resolving }()
			ctx, stop := context.WithTimeout(n.ctx, resolveTimeout)
			defer stop()
			if d.lookup(ctx) {
				n.findTwins()
			}
		case <-n.ctx.Done():
		}
	}()
}

// startLookups starts the look-ups that are due, and reports whether any
// destination with the tag has an address.
func (n *network) startLookups(s *set, only tag) (resolved bool) {
	for i := range s.targets {
		t := &s.targets[i]
		ok, due := t.ready()
		if due {
			n.lookup(t.destination, nil)
		}
		resolved = resolved || ok && (only == 0 || t.tag == only)
	}
	return resolved
}

// lookAgain looks up the names that were not looked up recently. Names that failed to
// resolve keep their own schedule unless failed is true. It does not wait.
func (n *network) lookAgain(failed bool) {
	s := n.set.Load()
	for _, t := range s.targets {
		t.lookAgain(failed)
	}
	n.startLookups(s, 0)
}

// findTwins marks the twins again after an address has changed, in a copy of the
// set: a sender sees one set from the first destination to the last.
func (n *network) findTwins() {
	n.mu.Lock() // one at a time, so that the last one sees all addresses
	defer n.mu.Unlock()
	next := *n.set.Load()
	next.targets = slices.Clone(next.targets)
	if next.findTwins() {
		n.set.Store(&next)
	}
}

// probe checks every socket for refusals of earlier datagrams.
func (n *network) probe() {
	for _, t := range n.set.Load().targets {
		t.probe()
	}
}

// stats returns the state and the counters of each destination in the set.
func (n *network) stats() []DestinationStats {
	var all []DestinationStats
	for _, t := range n.set.Load().targets {
		t.mu.Lock()
		ds := t.destination.stats
		ds.Addr, ds.Twin = t.addr, t.twin
		t.mu.Unlock()
		all = append(all, ds)
	}
	return all
}

// resolved reports whether any target has an address.
func (s *set) resolved() bool {
	return slices.ContainsFunc(s.targets, func(t target) bool { return t.destination.resolved.Load() })
}

// findTwins marks targets with the address of an earlier target, so that each address
// gets a datagram once. It reports whether a mark has changed.
func (s *set) findTwins() (changed bool) {
	first := map[netip.AddrPort]string{}
	for i := range s.targets {
		t := &s.targets[i]
		was := t.twin
		t.twin = ""
		if addr := t.address(); addr.IsValid() {
			if name, taken := first[addr]; taken {
				t.twin = name
			} else {
				first[addr] = t.name
			}
		}
		changed = changed || t.twin != was
	}
	return changed
}

// names returns the names of the destinations with a tag.
func (s *set) names(only tag) string {
	var names []string
	for _, t := range s.targets {
		if only == 0 || t.tag == only {
			names = append(names, t.name)
		}
	}
	return strings.Join(names, ", ")
}
