package receiver

const (
	// modulus is where sequence numbers begin again: 0 follows 1 999 999 999.
	modulus = 2_000_000_000

	// window is how far behind the highest number a datagram may come and
	// still be told from a duplicate. It divides modulus, so that a number's
	// place in the ring of bits does not jump where the numbers wrap.
	window = 1024

	// maxJump is the largest gap that is believed at once. A sender is
	// forgotten after 900 s of silence, and 100 datagrams per second is what
	// the oldest clients send at most: no larger gap can be a loss.
	maxJump = 100_000
)

// A compile error here means that window does not divide modulus.
var _ [0]struct{} = [modulus % window]struct{}{}

// stream accounts for the sequence numbers of one process. The first one seen
// is its base: what came before it cannot be called lost.
type stream struct {
	started bool
	max     int32  // the highest number
	span    uint64 // of numbers from the base to max
	unique  uint64 // of them seen
	before  uint64 // lost before the last restart

	// A number out of any range (a process that began again, or a forgery)
	// changes nothing unless the number after it follows.
	doubted bool
	doubt   int32

	// bits has a bit for each of the last numbers up to max, at its place
	// modulo window, set if it was seen.
	bits [window / 64]uint64
}

// observe takes the number of a datagram and counts what follows from it.
// Numbers that no client sends are not used.
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

// lost is the number of sequence numbers that are missing.
func (s *stream) lost() uint64 { return s.before + s.span - s.unique }

func (s *stream) begin(n int32) {
	s.max, s.span, s.unique = n, 1, 1
	s.bits = [window / 64]uint64{}
	s.set(n)
}

// advance moves max on by 1 or more; none of the numbers passed was seen.
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
