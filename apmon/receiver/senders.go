package receiver

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Idle is how long a sender is remembered without a datagram of its. It is the
// time after which MonALISA forgets one too.
const Idle = 900 * time.Second

// DefaultMaxSenders is how many senders are remembered at a time, by default.
// At about 400 bytes each it bounds what a flood of forged addresses can take.
const DefaultMaxSenders = 1 << 16

// Counts is what is known of the datagrams of one sender, or of all.
type Counts struct {
	// Received counts accepted datagrams, duplicates included.
	Received uint64
	// Truncated counts those of Received that end behind a complete parameter,
	// before the number they declare is reached: see [xdr.ErrTruncated].
	Truncated uint64
	// Refused counts datagrams that were malformed or had a wrong password.
	// They are counted by address alone: nothing else in them can be believed.
	Refused uint64
	// Lost is how many sequence numbers between the first and the highest one
	// seen are missing. One that arrives late is taken back from Lost and
	// added to Reordered.
	Lost uint64
	// Reordered counts datagrams that came after one with a higher number.
	Reordered uint64
	// Duplicate counts datagrams whose number had been seen.
	Duplicate uint64
	// Restarts counts how often the numbers went on from somewhere else. What
	// lies between is not counted as lost.
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

// Sender is one source of datagrams: a process, or, for datagrams that do not
// say which process sent them, an address.
type Sender struct {
	// Addr is the sender's address. The port is not part of a sender's
	// identity: clients change it with every socket.
	Addr netip.Addr
	// Instance identifies the process. It is meaningful if Sequenced is set;
	// otherwise the entry stands for all datagrams from Addr without instance
	// id and sequence number, and for those refused, and knows no losses.
	Instance  int32
	Sequenced bool
	// First and Last are the times of the first and the last datagram.
	First, Last time.Time
	Counts
}

// table is the account of all senders. It is pure: it reads no clock, and its
// user holds a lock.
type table struct {
	max     int
	entries map[key]*entry
	// A ring in the order of the last datagram, so that the stalest entry is
	// found at once: root.next is the stalest, root.prev the freshest.
	root entry

	forgotten        Counts // of the entries that are gone
	expired, evicted uint64
}

type key struct {
	addr      netip.Addr
	instance  int32
	sequenced bool
}

type entry struct {
	key
	first, last time.Time
	counts      Counts // all but Lost, which the stream knows
	stream      stream
	prev, next  *entry
}

func newTable(max int) *table {
	t := &table{max: max, entries: make(map[key]*entry)}
	t.root.prev, t.root.next = &t.root, &t.root
	return t
}

// accept counts a datagram that carries an instance id and a sequence number.
func (t *table) accept(now time.Time, addr netip.Addr, instance, seq int32, truncated bool) {
	e := t.touch(now, key{addr, instance, true})
	e.received(truncated)
	e.stream.observe(seq, &e.counts)
}

// acceptPlain counts a datagram that carries neither.
func (t *table) acceptPlain(now time.Time, addr netip.Addr, truncated bool) {
	t.touch(now, key{addr: addr}).received(truncated)
}

func (e *entry) received(truncated bool) {
	e.counts.Received++
	if truncated {
		e.counts.Truncated++
	}
}

// refuse counts a datagram that was not understood or not allowed.
func (t *table) refuse(now time.Time, addr netip.Addr) {
	t.touch(now, key{addr: addr}).counts.Refused++
}

// touch finds or makes an entry and marks it as the freshest.
func (t *table) touch(now time.Time, k key) *entry {
	t.expire(now)
	e := t.entries[k]
	if e == nil {
		if len(t.entries) >= t.max {
			t.forget(t.root.next)
			t.evicted++
		}
		e = &entry{key: k, first: now}
		t.entries[k] = e
	} else {
		e.prev.next, e.next.prev = e.next, e.prev
	}
	e.last = now
	e.prev, e.next = t.root.prev, &t.root
	e.prev.next, e.next.prev = e, e
	return e
}

// expire forgets the entries that have been idle for too long.
func (t *table) expire(now time.Time) {
	for e := t.root.next; e != &t.root && now.Sub(e.last) >= Idle; e = t.root.next {
		t.forget(e)
		t.expired++
	}
}

// forget removes an entry and keeps its totals.
func (t *table) forget(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(t.entries, e.key)
	t.forgotten.Add(e.total())
}

func (e *entry) total() Counts {
	c := e.counts
	c.Lost = e.stream.lost()
	return c
}

// total sums up all senders there have ever been.
func (t *table) total() Counts {
	sum := t.forgotten
	for _, e := range t.entries {
		sum.Add(e.total())
	}
	return sum
}

// list returns the senders remembered, by address and instance id.
func (t *table) list() []Sender {
	all := make([]Sender, 0, len(t.entries))
	for _, e := range t.entries {
		all = append(all, Sender{
			Addr: e.addr, Instance: e.instance, Sequenced: e.sequenced,
			First: e.first, Last: e.last, Counts: e.total(),
		})
	}
	slices.SortFunc(all, func(a, b Sender) int {
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
	})
	return all
}
