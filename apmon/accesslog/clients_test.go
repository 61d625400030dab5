package accesslog

import (
	"hash/maphash"
	"math"
	"strconv"
	"testing"
)

func TestClients(t *testing.T) {
	t.Parallel()
	var c clients
	seed := maphash.MakeSeed()
	n, worst := 0, 0.0
	for _, upTo := range []int{0, 1, 2, 15, 16, 17, 100, exact - 1, exact, exact + 1, 1000, 5000, 20_000, 50_000, 200_000, 1_000_000} {
		for ; n < upTo; n++ {
			hash := maphash.String(seed, strconv.Itoa(n))
			c.add(hash)
			c.add(hash)
		}
		if upTo > 0 {
			c.add(maphash.String(seed, "0"))
		}
		got := c.count()
		if upTo <= exact && got != float64(upTo) {
			t.Errorf("%d clients: got %v", upTo, got)
		}
		if upTo > 0 {
			worst = max(worst, math.Abs(got/float64(upTo)-1))
		}
		if size := 8*len(c.table) + len(c.sketch); size > 8192 {
			t.Errorf("%d clients take %d bytes", upTo, size)
		}
	}
	if worst > 6*0.0115 { // six times the standard error
		t.Errorf("off by %.1f %%", 100*worst)
	}
	c.reset()
	c.add(0)
	c.add(1 << 63)
	if got := c.count(); got != 2 {
		t.Errorf("2 clients after a reset: got %v", got)
	}
}

// The error of the sketch at many sizes and with many seeds is as documented and has
// no bias.
func TestClientsError(t *testing.T) {
	t.Parallel()
	for _, n := range []int{600, 5000, 20_000, 100_000} {
		const tries = 40
		sum, squares := 0.0, 0.0
		for range tries {
			var c clients
			seed := maphash.MakeSeed()
			var b []byte
			for i := range n {
				b = strconv.AppendInt(b[:0], int64(i), 10)
				c.add(maphash.Bytes(seed, b))
			}
			e := c.count()/float64(n) - 1
			sum, squares = sum+e, squares+e*e
		}
		deviation := math.Sqrt(squares / tries)
		if bias := math.Abs(sum / tries); deviation > 2*0.0115 || bias > 5*0.0115/math.Sqrt(tries) {
			t.Errorf("%d clients: standard error %.4f, bias %.4f", n, deviation, bias)
		}
	}
}
