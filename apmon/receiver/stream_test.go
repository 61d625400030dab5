package receiver

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestStream(t *testing.T) {
	const last = modulus - 1
	run := func(from, n int) []int32 {
		var s []int32
		for i := range n {
			s = append(s, int32((from+i)%modulus))
		}
		return s
	}
	cat := slices.Concat[[]int32]
	for _, c := range []struct {
		name                                  string
		seq                                   []int32
		lost, reordered, duplicate, restarted uint64
	}{
		{name: "nothing"},
		{name: "one", seq: []int32{1}},
		{name: "in order", seq: run(1, 5000)},
		{name: "the first one seen is the base", seq: run(777, 10)},
		{name: "a gap is lost", seq: []int32{1, 2, 5}, lost: 2},
		{name: "a late one is no longer lost", seq: []int32{1, 2, 5, 3}, lost: 1, reordered: 1},
		{name: "late ones in any order", seq: []int32{1, 5, 4, 3, 2}, reordered: 3},
		{name: "a duplicate of the last", seq: []int32{1, 2, 2, 3}, duplicate: 1},
		{name: "a duplicate of a late one", seq: []int32{1, 3, 2, 2}, reordered: 1, duplicate: 1},
		{name: "before the base", seq: []int32{5, 3, 6}, reordered: 1},
		{name: "before the base, twice", seq: []int32{5, 3, 3, 6}, reordered: 1, duplicate: 1},
		{name: "wrap", seq: []int32{last - 1, last, 0, 1}},
		{name: "lost at the wrap", seq: []int32{last - 1, 1}, lost: 2},
		{name: "late over the wrap", seq: []int32{last - 1, 0, last, 1}, reordered: 1},
		{name: "duplicate over the wrap", seq: []int32{last, 0, last}, duplicate: 1},
		{name: "before the base over the wrap", seq: []int32{0, last}, reordered: 1},
		{name: "the oldest of the window", seq: []int32{1, 1 + window - 1, 1}, lost: window - 2, duplicate: 1},
		{name: "behind the window", seq: []int32{1, 1 + window, 1}, lost: window - 1},
		{name: "the largest gap", seq: []int32{1, 1 + maxJump}, lost: maxJump - 1},
		{name: "a gap too large to be one", seq: []int32{1, 2 + maxJump, 2}},
		{name: "two stray ones", seq: []int32{1, 1e9, 1e9 + 7, 2, 3}},
		{name: "a stray one twice", seq: []int32{1, 1e9, 1e9, 2, 3}},
		{name: "a stray one, not the next, goes on", seq: []int32{1, 1e9, 2, 1e9 + 1, 3}},
		{name: "restart at 1", seq: cat(run(5000, 10), run(1, 10)), restarted: 1},
		{name: "restart after a loss", seq: cat([]int32{5000, 5002}, run(1, 10)), lost: 1, restarted: 1},
		{name: "loss after a restart", seq: []int32{5000, 5001, 1, 2, 4}, lost: 1, restarted: 1},
		{name: "duplicates after a restart", seq: []int32{5000, 1, 2, 1, 2}, duplicate: 2, restarted: 1},
		{name: "restart with the first ones lost", seq: []int32{5000, 1, 3, 4, 5}, restarted: 1},
		{name: "restart at the wrap", seq: []int32{5000, last, 0, 1}, restarted: 1},
		{name: "restart far ahead", seq: []int32{5000, 1e9, 1e9 + 1}, restarted: 1},
		{name: "impossible numbers are not used", seq: []int32{-1, 1, -5, modulus, 2147483647, 2}},
		{name: "impossible numbers do not end a doubt", seq: []int32{5000, 1, -1, 2}, restarted: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s stream
			var got Counts
			for _, n := range c.seq {
				s.observe(n, &got)
			}
			got.Lost = s.lost()
			want := Counts{Lost: c.lost, Reordered: c.reordered, Duplicate: c.duplicate, Restarts: c.restarted}
			if got != want {
				t.Errorf("%v:\n got %+v\nwant %+v", c.seq[:min(len(c.seq), 20)], got, want)
			}
		})
	}
}

// FuzzStream drops, repeats and reorders a run of numbers, never by more than
// the window can tell, and compares with an account that forgets nothing.
func FuzzStream(f *testing.F) {
	f.Add(uint64(1), int32(1), uint16(3000), uint8(20), uint8(20), uint16(400))
	f.Add(uint64(2), int32(modulus-1000), uint16(3000), uint8(200), uint8(100), uint16(500))
	f.Add(uint64(3), int32(modulus-1), uint16(2), uint8(0), uint8(0), uint16(3))
	f.Add(uint64(4), int32(0), uint16(65535), uint8(250), uint8(250), uint16(511))
	f.Fuzz(func(t *testing.T, seed uint64, start int32, n uint16, drop, repeat uint8, spread uint16) {
		if start < 0 || start >= modulus {
			t.Skip()
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		// Positions instead of numbers: they do not wrap, so the account
		// needs no cleverness.
		type arrival struct{ pos, when int }
		var arrivals []arrival
		for i := range int(n) {
			if uint8(rng.UintN(256)) < drop {
				continue
			}
			times := 1
			if uint8(rng.UintN(256)) < repeat {
				times += 1 + rng.IntN(2)
			}
			for range times {
				arrivals = append(arrivals, arrival{i, i + rng.IntN(int(spread%(window/2))+1)})
			}
		}
		slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.when - b.when })

		var s stream
		var got, want Counts
		seen := make(map[int]bool)
		base, highest := 0, 0
		for i, a := range arrivals {
			s.observe(int32((int(start)+a.pos)%modulus), &got)
			switch {
			case i == 0:
				base, highest = a.pos, a.pos
			case seen[a.pos]:
				want.Duplicate++
			case a.pos < highest:
				want.Reordered++
			default:
				highest = a.pos
			}
			seen[a.pos] = true
		}
		for pos := base; pos <= highest && len(seen) > 0; pos++ {
			if !seen[pos] {
				want.Lost++
			}
		}
		got.Lost = s.lost()
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// FuzzStreamAny feeds anything at all: the account must stay sane.
func FuzzStreamAny(f *testing.F) {
	f.Add([]byte{0, 1, 2, 255, 3, 128, 7, 7, 9})
	f.Fuzz(func(t *testing.T, moves []byte) {
		steps := []int64{1, 1, 2, -1, 0, window, -window, window - 1, maxJump, maxJump + 1, modulus / 2, -modulus / 2, 63, 64, 65, -3}
		var s stream
		var c Counts
		n := int64(modulus - 5)
		for i, m := range moves {
			n = ((n+steps[int(m)%len(steps)])%modulus + modulus) % modulus
			s.observe(int32(n), &c)
			if lost := s.lost(); lost > uint64(i+1)*maxJump {
				t.Fatalf("after %v: %d lost", moves[:i+1], lost)
			}
			if c.Reordered+c.Duplicate+c.Restarts > uint64(i) {
				t.Fatalf("after %v: %+v", moves[:i+1], c)
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	var s stream
	var c Counts
	for i := range b.N {
		s.observe(int32(i%modulus), &c)
	}
}
