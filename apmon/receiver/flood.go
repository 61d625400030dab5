package receiver

import (
	"errors"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
)

// ErrFlood is the error of a datagram over the limit of its address, see
// Options.FloodLimit.
var ErrFlood = errors.New("too many datagrams from this address")

// floodWeight is the weight of the past in the smoothed rate, as in MonALISA.
var floodWeight = math.Exp(-5.0 / 60)

const (
	floodSets = 4096 // a power of 2
	floodWays = 8
)

// flood limits the datagrams of each address by the rule of the MonALISA service. It uses
// 1.3 MB for up to 32768 addresses, and never more.
//
// An address without a state is accepted, so to forget one harms nobody, but lets a flooding
// address through. An attacker who forges a million addresses must thus not be able to push
// out an address that sends much. So an address has its place in one of 4096 sets of 8, by a
// hash with a random seed, and a newcomer takes the place of the lowest rate in its set,
// among equal ones of the longest silent: forged addresses with one datagram each push out
// one another.
type flood struct {
	limit  int
	seed   maphash.Seed
	random func() float64 // in [0, 1)
	sets   [floodSets]floodSet
}

type floodSet struct {
	mu   sync.Mutex
	ways [floodWays]flow
}

// flow is the state of one address.
type flow struct {
	addr     [16]byte
	rate     float64 // datagrams/s, smoothed, up to the second before
	second   int32   // of the last datagram, from 1; 0 if there is none
	elapsed  int32   // seconds since the second of the datagram before
	accepted int32   // in this second
}

func newFlood(limit int) *flood {
	return &flood{limit: limit, seed: maphash.MakeSeed(), random: rand.Float64}
}

// accept decides on a datagram that has arrived in a second, from 1 on.
func (f *flood) accept(addr netip.Addr, second int32) bool {
	a := addr.As16()
	s := &f.sets[maphash.Bytes(f.seed, a[:])%floodSets]
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.flow(a, second)
	w.begin(second)
	rate := math.Floor(w.smoothed() / float64(w.elapsed))
	limit := float64(f.limit)
	if rate > limit/10 && f.random()*limit/10 > limit-rate {
		return false
	}
	w.accepted++
	return true
}

// flow returns the state of an address, a new one if necessary.
func (s *floodSet) flow(addr [16]byte, second int32) *flow {
	for i := range s.ways {
		if w := &s.ways[i]; w.second > 0 && w.addr == addr {
			return w
		}
	}
	least := &s.ways[0]
	for i := range s.ways {
		w := &s.ways[i]
		if a, b := w.now(second), least.now(second); a < b || a == b && w.second < least.second {
			least = w
		}
	}
	*least = flow{addr: addr, second: second, elapsed: 1}
	return least
}

// begin begins a new second. A socket may be a little behind another.
func (w *flow) begin(second int32) {
	if second <= w.second {
		return
	}
	elapsed := second - w.second
	w.rate = w.smoothed() / float64(elapsed)
	w.second, w.elapsed, w.accepted = second, elapsed, 0
}

func (w *flow) smoothed() float64 {
	return floodWeight*w.rate + (1-floodWeight)*float64(w.accepted)
}

// now returns the rate as of a second.
func (w *flow) now(second int32) float64 {
	if w.second == 0 {
		return -1
	}
	return w.smoothed() / float64(max(second-w.second, 1))
}
