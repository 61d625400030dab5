package receiver

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// SenderLifetime is the time after its last datagram for which a sender is remembered, as
// in MonALISA.
const SenderLifetime = 900 * time.Second

// DefaultMaxSenders is the default of Options.MaxSenders. At about 400 bytes each it
// limits the memory that a flood of forged addresses can take.
const DefaultMaxSenders = 1 << 16

// Counts are the counts of the datagrams of one sender, or of all.
type Counts struct {
	// Received counts accepted datagrams, including duplicates.
	Received uint64
	// Truncated counts those of Received that end after a complete parameter but
	// have fewer than they declare: see [xdr.ErrTruncated].
	Truncated uint64
	// Refused counts datagrams that were malformed or had a wrong password.
	// They are counted by address alone, as nothing else in them is reliable.
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
	Counts
}

// table holds the counts of all senders. It reads no clock, and its user holds a lock.
type table struct {
	max     int
	entries map[key]*entry
	// A ring in the order of the last datagram: root.next is the oldest entry,
	// root.prev the newest.
	root entry

	forgotten        Counts // of the entries that have been dropped
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
	counts      Counts // except Lost, which the stream has
	stream      stream
	prev, next  *entry
}

func newTable(max int) *table {
	t := &table{max: max, entries: make(map[key]*entry)}
	t.root.prev, t.root.next = &t.root, &t.root
	return t
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

// refuse counts a datagram that was malformed or had a wrong password.
func (t *table) refuse(now time.Time, addr netip.Addr) {
	t.touch(now, key{addr: addr}).counts.Refused++
}

// touch returns an entry, made if necessary, as the newest.
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

// expire drops the entries that have been silent for SenderLifetime.
func (t *table) expire(now time.Time) {
	for e := t.root.next; e != &t.root && now.Sub(e.last) >= SenderLifetime; e = t.root.next {
		t.forget(e)
		t.expired++
	}
}

// forget drops an entry and keeps its counts.
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

// total sums up all senders, including those that have been dropped.
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
