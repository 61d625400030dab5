package receiver

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
	carol = netip.MustParseAddr("2001:db8::1")
	start = time.Unix(1_700_000_000, 0)
)

func compare(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func list(t *table) []Sender {
	all := t.appendTo(nil)
	slices.SortFunc(all, order)
	return all
}

func total(t *table) Counts {
	var s Stats
	t.addTo(&s)
	return s.Counts
}

func TestSendersAreToldApart(t *testing.T) {
	tab := newTable(100)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	tab.accept(at(0), carol, 7, 1, false)
	tab.accept(at(1), alice, 7, 1, false)
	tab.accept(at(2), alice, 8, 100, false)
	tab.accept(at(3), alice, 7, 3, false)
	tab.acceptPlain(at(4), alice, false)
	tab.acceptPlain(at(5), alice, false)
	tab.refuse(at(6), alice, ErrPassword)
	tab.refuse(at(7), bob, ErrFlood)
	compare(t, list(tab), []Sender{
		{Addr: alice, First: at(4), Last: at(6), Refusal: ErrPassword, Counts: Counts{Received: 2, Refused: 1}},
		{Addr: alice, Instance: 7, Sequenced: true, First: at(1), Last: at(3), Counts: Counts{Received: 2, Lost: 1}},
		{Addr: alice, Instance: 8, Sequenced: true, First: at(2), Last: at(2), Counts: Counts{Received: 1}},
		{Addr: bob, First: at(7), Last: at(7), Refusal: ErrFlood, Counts: Counts{Refused: 1}},
		{Addr: carol, Instance: 7, Sequenced: true, First: at(0), Last: at(0), Counts: Counts{Received: 1}},
	})
	compare(t, total(tab), Counts{Received: 6, Refused: 2, Lost: 1})
}

func TestSendersExpire(t *testing.T) {
	tab := newTable(100)
	tab.accept(start, alice, 7, 1, false)
	tab.accept(start, alice, 7, 4, false)
	tab.accept(start.Add(time.Second), bob, 7, 1, false)
	tab.expire(start.Add(SenderLifetime - 1))
	if n := len(tab.entries); n != 2 {
		t.Fatalf("%d senders just before their time, want 2", n)
	}
	tab.expire(start.Add(SenderLifetime))
	compare(t, list(tab), []Sender{
		{Addr: bob, Instance: 7, Sequenced: true, First: start.Add(time.Second), Last: start.Add(time.Second), Counts: Counts{Received: 1}},
	})
	// Back again, it has a new base, and nothing in between is lost.
	back := start.Add(2 * SenderLifetime)
	tab.accept(back, alice, 7, 500, false)
	compare(t, list(tab), []Sender{
		{Addr: alice, Instance: 7, Sequenced: true, First: back, Last: back, Counts: Counts{Received: 1}},
	})
	if tab.expired != 2 || tab.evicted != 0 {
		t.Errorf("expired %d, evicted %d, want 2 and 0", tab.expired, tab.evicted)
	}
	compare(t, total(tab), Counts{Received: 4, Lost: 2})
}

func TestSendersAreBounded(t *testing.T) {
	const most = 10
	tab := newTable(most)
	for i := range 1000 {
		now := start.Add(time.Duration(i) * time.Millisecond)
		tab.accept(now, alice, 7, int32(2*i), false) // the one that is true
		tab.refuse(now, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), ErrPassword)
		if n := len(tab.entries); n > most {
			t.Fatalf("%d senders, at most %d wanted", n, most)
		}
	}
	if want := uint64(1001 - most); tab.evicted != want {
		t.Errorf("evicted %d, want %d", tab.evicted, want)
	}
	compare(t, total(tab), Counts{Received: 1000, Refused: 1000, Lost: 999})
	if got := list(tab)[most-1]; got.Addr != alice || got.Received != 1000 {
		t.Errorf("the busiest sender was evicted: %+v", got)
	}
}

// Newcomers push out each other, and not a sender that has sent twice, even if it has been
// silent for longer. Yet true newcomers find a place when the table is full of others.
func TestNewcomersTakeTheirOwnPlaces(t *testing.T) {
	const most = 100
	tab := newTable(most)
	tab.accept(start, alice, 1, 1, false)
	tab.accept(start, alice, 1, 2, false)
	tab.accept(start, alice, 1, 3, false)
	forged := int32(10)
	forge := func(n int) {
		for range n {
			forged++
			tab.accept(start, bob, forged, 1, false)
			tab.refuse(start, netip.AddrFrom4([4]byte{10, 0, byte(forged >> 8), byte(forged)}), ErrFlood)
		}
	}
	forge(1000)
	if e := tab.entries[key{alice, 1, true}]; e == nil || e.counts.Received != 3 {
		t.Fatalf("the regular sender is forgotten: %+v", e)
	}
	// More regular senders than there are places.
	for i := range int32(2 * most) {
		for seq := range int32(4) {
			tab.accept(start, carol, i, seq, false)
		}
		forge(1)
	}
	if n := len(tab.entries); n != most || tab.newcomers.n < most/4-1 || tab.newcomers.n > most/4+1 {
		t.Errorf("%d newcomers of %d senders", tab.newcomers.n, n)
	}
	if tab.entries[key{alice, 1, true}] != nil || tab.entries[key{carol, 2*most - 1, true}] == nil {
		t.Error("the regular sender that was silent for longest is not the one that was dropped")
	}
	if got := total(tab); got.Lost != 0 || got.Received != 3+1000+2*most*5 {
		t.Errorf("%+v", got)
	}
}

// The ring and the map must agree, whatever happens.
func TestSendersRing(t *testing.T) {
	tab := newTable(3)
	for i := range 200 {
		now := start.Add(time.Duration(i*i) * time.Second)
		tab.refuse(now, netip.AddrFrom4([4]byte{10, 0, 0, byte(i * i % 7)}), ErrPassword)
		n := 0
		for _, r := range []*ring{&tab.newcomers, &tab.regulars} {
			if r.n == 0 {
				continue
			}
			inRing := 0
			for e := r.root.next; e != &r.root; e = e.next {
				if inRing++; tab.entries[e.key] != e || e.next.prev != e || e.ring != r {
					t.Fatalf("step %d: ring and map differ", i)
				}
			}
			if n += inRing; inRing != r.n {
				t.Fatalf("step %d: %d in a ring that counts %d", i, inRing, r.n)
			}
		}
		if n != len(tab.entries) {
			t.Fatalf("step %d: %d in the ring, %d in the map", i, n, len(tab.entries))
		}
	}
}

func BenchmarkSenders(b *testing.B) {
	tab := newTable(DefaultMaxSenders)
	b.ReportAllocs()
	for i := range b.N {
		tab.accept(start, alice, int32(i%1000), int32(i/1000%modulus), false)
	}
}
