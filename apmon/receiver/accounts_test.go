package receiver

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// The bound on senders holds for all parts together.
func TestAccountsAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ max, sockets, parts int }{
		{10, 1, 1}, {10, 4, 1}, {1, 4, 1}, {4096, 1, 1}, {4096, 2, maxShards}, {5000, 4, maxShards},
	} {
		a := newAccounts(c.max, c.sockets)
		if len(a.shards) != c.parts {
			t.Errorf("%d senders and %d sockets: %d parts, want %d", c.max, c.sockets, len(a.shards), c.parts)
		}
		d := xdr.Datagram{Version: xdr.Version}
		n := 3 * c.max
		for i := range n {
			d.Instance = int32(i)
			a.accept(start, alice, &d, false)
			a.refuse(start, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), ErrFlood)
		}
		got := len(a.list(start))
		var s Stats
		a.addTo(&s, start)
		if got > c.max || got < c.max*9/10 || s.Evicted != uint64(2*n-got) {
			t.Errorf("%d senders and %d sockets: %d remembered, %d evicted of %d", c.max, c.sockets, got, s.Evicted, 2*n)
		}
		if s.Received != uint64(n) || s.Refused != uint64(n) || s.Refusals != (Refusals{Flood: uint64(n)}) {
			t.Errorf("%d senders: stats %+v", c.max, s)
		}
	}
}

// Senders expire in the order of their last datagrams, newcomers and regulars alike.
func TestAccountsExpireInOrder(t *testing.T) {
	t.Parallel()
	a := newAccounts(DefaultMaxSenders, 4)
	d := xdr.Datagram{Version: xdr.Version}
	const n = 800 // less than SenderLifetime in seconds
	for i := range n {
		d.Instance, d.Seq = int32(i), 1
		for range 1 + i%4 { // some are regulars
			a.accept(start.Add(time.Duration(i)*time.Second), alice, &d, false)
			d.Seq++
		}
	}
	for i := range n {
		var s Stats
		a.addTo(&s, start.Add(SenderLifetime+time.Duration(i)*time.Second))
		if s.Expired != uint64(i+1) || s.ActiveSenders != n-1-i {
			t.Fatalf("after %d: %d expired, %d active", i, s.Expired, s.ActiveSenders)
		}
	}
}

// All processes that send are found where they were, though they share parts with others.
func TestAccountsOfAllParts(t *testing.T) {
	t.Parallel()
	a := newAccounts(DefaultMaxSenders, 4)
	d := xdr.Datagram{Version: xdr.Version}
	used := make(map[*shard]int)
	const n = 4096
	for seq := range int32(3) {
		for i := range int32(n) {
			d.Instance, d.Seq = i*524287, seq
			a.accept(start, carol, &d, false)
			if seq == 0 {
				used[a.shard(carol, d.Instance, true)]++
			}
		}
	}
	for _, s := range a.list(start) {
		if s.Received != 3 || s.Lost > 0 {
			t.Errorf("%+v", s)
		}
	}
	for s, got := range used {
		if got > n/maxShards*3 {
			t.Errorf("part %p has %d of %d senders", s, got, n)
		}
	}
}

// More are forged than are remembered.
func TestForgedSenders(t *testing.T)     { forgedSenders(t, 200_000) }
func TestLongForgedSenders(t *testing.T) { testkit.SkipLong(t); forgedSenders(t, 1_000_000) }

// forgedSenders: forged instance ids and as many forged addresses take no more memory than
// the accounts may, and the sender that was there before keeps its account.
func forgedSenders(t *testing.T, n int) {
	r := listen(t, "127.0.0.1:0", Options{FloodLimit: 50})
	before := testkit.Heap()
	var d xdr.Datagram
	good, forged := from(1, 0), from(0, 1)
	at := 4 + (len("v:"+xdr.Version+"p:")+3)&^3 // of the instance id
	seq := uint32(0)
	for i := range n {
		now := r.began.Add(time.Duration(i) * 10 * time.Microsecond)
		if i%(n/400) == 0 { // 40/s
			seq++
			binary.BigEndian.PutUint32(good[at+4:], seq)
			p := Packet{From: netip.AddrPortFrom(alice, 1), Received: now, Raw: good}
			if r.admit(&p, &d); p.Err != nil {
				t.Fatalf("a well-behaved sender is refused: %v", p.Err)
			}
		}
		binary.BigEndian.PutUint32(forged[at:], uint32(i)*2654435761>>1)
		p := Packet{From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1), Received: now, Raw: forged}
		r.admit(&p, &d)
	}
	grown := testkit.Heap() - before
	if limit := int64(DefaultMaxSenders * 600); grown > limit {
		t.Errorf("the heap grew by %d bytes, more than %d", grown, limit)
	}
	t.Logf("the heap grew by %d bytes for %d senders", grown, len(r.Senders()))
	for _, s := range r.Senders() {
		if s.Addr == alice && (s.Counts != (Counts{Received: uint64(seq)}) || s.First.After(r.began)) {
			t.Errorf("the well-behaved sender: %+v", s)
		}
	}
	if s := r.Stats(); s.Received+s.Refused != uint64(n)+uint64(seq) || s.Evicted == 0 || s.Lost > 0 {
		t.Errorf("stats %+v", s)
	}
}
