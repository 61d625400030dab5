package receiver

import "github.com/apmon-go/apmon/xdr"

const (
	modulus = xdr.SeqModulus

	// window is the number of sequence numbers up to the highest for which a late
	// datagram can be distinguished from a duplicate. It divides modulus, so that
	// the position of a number in the ring of bits is continuous where numbers wrap.
	window = 1024

	// maxJump is the largest gap that counts as a loss. A sender is dropped after
	// 900 s of silence, and the oldest clients send at most 100 datagrams per
	// second: a larger gap cannot be a loss.
	maxJump = 100_000
)

// A compile error here means that window does not divide modulus.
var _ [0]struct{} = [modulus % window]struct{}{}

// stream counts the sequence numbers of one process. The first number is its base:
// numbers before it cannot be called lost.
type stream struct {
	started bool
	max     int32  // the highest number
	span    uint64 // of numbers from the base to max
	unique  uint64 // of them that arrived
	before  uint64 // lost before the last restart

	// A number out of range (of a process that restarted, or forged) has no effect
	// unless its successor follows.
	doubted bool
	doubt   int32

	// bits has a bit for each of the last numbers up to max, at its position modulo
	// window, set if it arrived.
	bits [window / 64]uint64
}

// observe counts a sequence number. Numbers that no client sends are ignored.
func (s *stream) observe(n int32, c *Counts) {
	if n < 0 || n >= modulus {
		return
	}
	if !s.started {
		s.started = true
		s.begin(n)
		return
	}
	ahead := int(n) - int(s.max)
	if ahead < 0 {
		ahead += modulus
	}
	behind := modulus - ahead
	switch {
	case ahead == 0:
		c.Duplicate++
	case ahead <= maxJump:
		s.advance(ahead)
		s.unique++
		s.set(n)
	case behind < window && s.seen(n):
		c.Duplicate++
	case behind < window:
		c.Reordered++
		s.set(n)
		if uint64(behind) < s.span { // not before the base
			s.unique++
		}
	case s.doubted && n == (s.doubt+1)%modulus:
		c.Restarts++
		s.before = s.lost()
		s.begin(s.doubt)
		s.advance(1)
		s.unique++
		s.set(n)
	default:
		s.doubted, s.doubt = true, n
		return
	}
	s.doubted = false
}

// lost returns the number of missing sequence numbers.
func (s *stream) lost() uint64 { return s.before + s.span - s.unique }

func (s *stream) begin(n int32) {
	s.max, s.span, s.unique = n, 1, 1
	s.bits = [window / 64]uint64{}
	s.set(n)
}

// advance increases max by 1 or more; none of the numbers between has arrived.
func (s *stream) advance(by int) {
	s.span += uint64(by)
	if by >= window {
		s.bits = [window / 64]uint64{}
		s.max = int32((int(s.max) + by) % modulus)
		return
	}
	for range by {
		s.max = (s.max + 1) % modulus
		s.bits[s.max%window/64] &^= 1 << (s.max % 64)
	}
}

func (s *stream) set(n int32)       { s.bits[n%window/64] |= 1 << (n % 64) }
func (s *stream) seen(n int32) bool { return s.bits[n%window/64]&(1<<(n%64)) != 0 }
