package receiver

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// SenderLifetime is the time after its last datagram for which a sender is remembered, as
// in MonALISA.
const SenderLifetime = 900 * time.Second

// DefaultMaxSenders is the default of Options.MaxSenders. At about 550 bytes each it
// limits the memory that a flood of forged addresses can take to 36 MB.
const DefaultMaxSenders = 1 << 16

// Counts are the counts of the datagrams of one sender, or of all.
type Counts struct {
	// Received counts accepted datagrams, including duplicates.
	Received uint64
	// Truncated counts those of Received that end after a complete parameter but
	// have fewer than they declare: see [xdr.ErrTruncated].
	Truncated uint64
	// Refused counts refused datagrams. They are counted by address alone, as
	// nothing else in them is reliable.
	Refused uint64
	// Lost is the number of sequence numbers missing between the first and the
	// highest. A datagram that arrives late moves from Lost to Reordered.
	Lost uint64
	// Reordered counts datagrams that arrived after one with a higher number.
	Reordered uint64
	// Duplicate counts datagrams whose number had arrived before.
	Duplicate uint64
	// Restarts counts how often the numbers continued at another place. The numbers
	// between are not counted as lost.
	Restarts uint64
}

// Add adds the counts of another sender.
func (c *Counts) Add(o Counts) {
	c.Received += o.Received
	c.Truncated += o.Truncated
	c.Refused += o.Refused
	c.Lost += o.Lost
	c.Reordered += o.Reordered
	c.Duplicate += o.Duplicate
	c.Restarts += o.Restarts
}

// Sender is one sender of datagrams: a process, or an address for datagrams that do not
// identify their process.
type Sender struct {
	// Addr is the sender's address. The port is not part of a sender's
	// identity: clients change it with every socket.
	Addr netip.Addr
	// Instance identifies the process. It is valid if Sequenced is set; otherwise
	// the entry stands for all datagrams from Addr without instance id and sequence
	// number, and for refused ones, and has no losses.
	Instance  int32
	Sequenced bool
	// First and Last are the times of the first and the last datagram.
	First, Last time.Time
	// Refusal is the error of the last refused datagram, nil if none was refused.
	Refusal error
	Counts
}

// Refusals counts refused datagrams by reason.
type Refusals struct {
	Malformed uint64 // an [*xdr.DecodeError]
	Password  uint64 // [ErrPassword]
	Access    uint64 // [ErrAccess]
	Flood     uint64 // [ErrFlood]
}

func (r *Refusals) count(err error) {
	switch {
	case errors.Is(err, ErrPassword):
		r.Password++
	case errors.Is(err, ErrAccess):
		r.Access++
	case errors.Is(err, ErrFlood):
		r.Flood++
	default:
		r.Malformed++
	}
}

func (r *Refusals) add(o Refusals) {
	r.Malformed += o.Malformed
	r.Password += o.Password
	r.Access += o.Access
	r.Flood += o.Flood
}

const (
	// maxShards is the number of parts of the accounts of several sockets.
	maxShards = 16
	// minShard is the smallest number of senders that is worth a part.
	minShard = 256
)

// accounts are the counts of all senders, in parts with a lock each, so that several sockets
// seldom wait for each other. The part depends on the instance id and not on the socket: a
// process whose port changes may arrive on another one.
type accounts struct {
	shards []shard
	mix    uint32 // odd; random, so that no sender can choose a part
}

type shard struct {
	mu sync.Mutex
	table
}

// newAccounts returns accounts for at most max senders that are used by n sockets.
func newAccounts(max, n int) *accounts {
	parts := 1
	if n > 1 && max >= maxShards*minShard {
		parts = maxShards
	}
	a := &accounts{shards: make([]shard, parts), mix: rand.Uint32() | 1}
	for i := range a.shards {
		a.shards[i].table = *newTable(max / parts)
	}
	return a
}

// shard returns the part of a sender.
func (a *accounts) shard(addr netip.Addr, instance int32, sequenced bool) *shard {
	if len(a.shards) == 1 {
		return &a.shards[0]
	}
	n := uint32(instance)
	if !sequenced {
		b := addr.As16()
		n = uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
	}
	return &a.shards[n*a.mix>>28]
}

// A compile error here means that shard does not return one of maxShards parts.
var _ [0]struct{} = [maxShards - 1<<(32-28)]struct{}{}

// count counts a decoded packet.
func (a *accounts) count(p *Packet) {
	if d := p.Datagram; d != nil {
		a.accept(p.Received, p.From.Addr(), d, p.Err != nil)
	} else {
		a.refuse(p.Received, p.From.Addr(), p.Err)
	}
}

// refuse counts a datagram that was refused.
func (a *accounts) refuse(now time.Time, addr netip.Addr, err error) {
	s := a.shard(addr, 0, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse(now, addr, err)
}

// sequenced returns the same as d.Sequenced. Only a datagram with numbers has them set; to parse
// the version again costs more.
func sequenced(d *xdr.Datagram) bool { return d.Instance != 0 || d.Seq != 0 || d.Sequenced() }

// accept counts a datagram that was accepted.
func (a *accounts) accept(now time.Time, addr netip.Addr, d *xdr.Datagram, truncated bool) {
	sequenced := sequenced(d)
	s := a.shard(addr, d.Instance, sequenced)
	s.mu.Lock()
	defer s.mu.Unlock()
	if sequenced {
		s.accept(now, addr, d.Instance, d.Seq, truncated)
	} else {
		s.acceptPlain(now, addr, truncated)
	}
}

// addTo adds the counts of all senders.
func (a *accounts) addTo(s *Stats, now time.Time) {
	for i := range a.shards {
		p := &a.shards[i]
		p.mu.Lock()
		p.expire(now)
		p.addTo(s)
		p.mu.Unlock()
	}
}

// list returns the senders remembered, by address and instance id.
func (a *accounts) list(now time.Time) []Sender {
	var all []Sender
	for i := range a.shards {
		p := &a.shards[i]
		p.mu.Lock()
		p.expire(now)
		all = p.appendTo(all)
		p.mu.Unlock()
	}
	slices.SortFunc(all, order)
	return all
}

// order compares senders by address and instance id.
func order(a, b Sender) int {
	if c := a.Addr.Compare(b.Addr); c != 0 {
		return c
	}
	if a.Sequenced != b.Sequenced {
		if b.Sequenced {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Instance, b.Instance)
}

// table holds the counts of senders. It reads no clock, and its user holds a lock.
//
// Forged addresses and ids must not push out the senders that exist. So the senders with
// two accepted datagrams are in a ring of their own, of which a newcomer takes a place only
// while the newcomers have less than a quarter of the table.
type table struct {
	max       int
	entries   map[key]*entry
	newcomers ring
	regulars  ring

	forgotten        Counts // of the entries that have been dropped
	refusals         Refusals
	expired, evicted uint64
}

// ring holds entries in the order of the last datagram: root.next is the oldest entry,
// root.prev the newest.
type ring struct {
	root entry
	n    int
}

func (r *ring) oldest() *entry {
	if r.n == 0 {
		return nil
	}
	return r.root.next
}

func (r *ring) append(e *entry) {
	if r.n == 0 {
		r.root.prev, r.root.next = &r.root, &r.root
	}
	e.ring = r
	e.prev, e.next = r.root.prev, &r.root
	e.prev.next, e.next.prev = e, e
	r.n++
}

func (r *ring) remove(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	r.n--
}

type key struct {
	addr      netip.Addr
	instance  int32
	sequenced bool
}

type entry struct {
	key
	first, last time.Time
	counts      Counts // except Lost, which the stream has
	refusal     error
	stream      stream
	ring        *ring
	prev, next  *entry
}

func newTable(max int) *table {
	return &table{max: max, entries: make(map[key]*entry)}
}

// accept counts a datagram with an instance id and a sequence number.
func (t *table) accept(now time.Time, addr netip.Addr, instance, seq int32, truncated bool) {
	e := t.touch(now, key{addr, instance, true})
	e.received(truncated)
	e.stream.observe(seq, &e.counts)
}

// acceptPlain counts a datagram without them.
func (t *table) acceptPlain(now time.Time, addr netip.Addr, truncated bool) {
	t.touch(now, key{addr: addr}).received(truncated)
}

func (e *entry) received(truncated bool) {
	e.counts.Received++
	if truncated {
		e.counts.Truncated++
	}
}

// refuse counts a datagram that was refused.
func (t *table) refuse(now time.Time, addr netip.Addr, err error) {
	e := t.touch(now, key{addr: addr})
	e.counts.Refused++
	e.refusal = err
	t.refusals.count(err)
}

// touch returns an entry, made if necessary, as the newest of its ring.
func (t *table) touch(now time.Time, k key) *entry {
	t.expire(now)
	e := t.entries[k]
	if e == nil {
		if len(t.entries) >= t.max {
			t.evict()
		}
		e = &entry{key: k, first: now}
		t.entries[k] = e
	} else {
		e.ring.remove(e)
	}
	e.last = now
	if e.counts.Received > 1 {
		t.regulars.append(e)
	} else {
		t.newcomers.append(e)
	}
	return e
}

// evict drops the entry that is silent for longest, of the newcomers or of the regulars.
func (t *table) evict() {
	e := t.newcomers.oldest()
	if e == nil || t.newcomers.n < t.max/4 && t.regulars.n > 0 {
		e = t.regulars.oldest()
	}
	t.forget(e)
	t.evicted++
}

// expire drops the entries that have been silent for SenderLifetime.
func (t *table) expire(now time.Time) {
	for _, r := range []*ring{&t.newcomers, &t.regulars} {
		for e := r.oldest(); e != nil && now.Sub(e.last) >= SenderLifetime; e = r.oldest() {
			t.forget(e)
			t.expired++
		}
	}
}

// forget drops an entry and keeps its counts.
func (t *table) forget(e *entry) {
	e.ring.remove(e)
	delete(t.entries, e.key)
	t.forgotten.Add(e.total())
}

func (e *entry) total() Counts {
	c := e.counts
	c.Lost = e.stream.lost()
	return c
}

// addTo adds the counts of all senders, including those that have been dropped.
func (t *table) addTo(s *Stats) {
	s.Counts.Add(t.forgotten)
	for _, e := range t.entries {
		s.Counts.Add(e.total())
		if e.counts.Received > 0 {
			s.ActiveSenders++
		}
	}
	s.Refusals.add(t.refusals)
	s.Expired += t.expired
	s.Evicted += t.evicted
}

// appendTo appends the senders remembered.
func (t *table) appendTo(all []Sender) []Sender {
	for _, e := range t.entries {
		all = append(all, Sender{
			Addr: e.addr, Instance: e.instance, Sequenced: e.sequenced,
			First: e.first, Last: e.last, Refusal: e.refusal, Counts: e.total(),
		})
	}
	return all
}
