package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"
)

// Every bucket begins after the end of the previous one, holds its end, and its middle is within
// 2 % of each of its values.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for i := 1; i < buckets-1; i++ {
		low, high := lower(i), lower(i+1)
		least := math.Nextafter(low, high)
		if index(low) != i-1 || index(least) != i || index(high) != i {
			t.Errorf("bucket %d: %v is in %d, %v in %d, %v in %d", i, low, index(low), least, index(least), high, index(high))
		}
		for _, v := range []float64{least, high} {
			if e := math.Abs(middle(i)/v - 1); e > 0.02 {
				t.Errorf("bucket %d: %v for %v", i, middle(i), v)
			}
		}
	}
	if lower(1) != lowest || lower(buckets-1) != highest {
		t.Errorf("from %v to %v", lower(1), lower(buckets-1))
	}
}

func TestOutside(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]float64{
		0: 0, -5: 0, math.Inf(-1): 0, math.NaN(): 0, 1e-4: 0, 5e-324: 0,
		lowest: 0, 2 * highest: highest, 1e300: highest, math.Inf(1): highest,
	} {
		var w Window
		if w.Observe(v); w.Quantile(0.5) != want || w.Count() != 1 {
			t.Errorf("%v: got %v, want %v", v, w.Quantile(0.5), want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	distributions := map[string]func(*rand.Rand) float64{
		"uniform":     func(r *rand.Rand) float64 { return 1 + 999*r.Float64() },
		"exponential": func(r *rand.Rand) float64 { return 20 * r.ExpFloat64() },
		"log-normal":  func(r *rand.Rand) float64 { return math.Exp(3 + 2*r.NormFloat64()) },
		"two values":  func(r *rand.Rand) float64 { return float64(1 + 1e6*r.IntN(2)) },
	}
	for name, draw := range distributions {
		for _, n := range []int{1, 2, 3, 99, 100, 101, 10_000} {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			var w Window
			values := make([]float64, n)
			for i := range values {
				values[i] = max(2*lowest, draw(r))
				w.Observe(values[i])
			}
			slices.Sort(values)
			for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
				want := values[max(0, int(math.Ceil(q*float64(n)))-1)]
				if got := w.Quantile(q); math.Abs(got/want-1) > 0.02 {
					t.Errorf("%s, %d values, %v: got %v, want %v", name, n, q, got, want)
				}
			}
		}
	}
	var w Window
	if got := w.Quantile(0.5); !math.IsNaN(got) {
		t.Errorf("without values: %v", got)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	var a, b, both Window
	for i := range 1000 {
		v := float64(i * i)
		both.Observe(v)
		if i%3 == 0 {
			a.Observe(v)
		} else {
			b.Observe(v)
		}
	}
	if a.Merge(&b); a != both {
		t.Error("merged windows differ from one with all values")
	}
	full := Window{n: math.MaxUint32 - 1}
	full.counts[index(1)] = math.MaxUint32 - 1
	full.Merge(&full)
	full.Observe(1)
	if n := full.counts[index(1)]; n != math.MaxUint32 {
		t.Errorf("a full bucket has %d", n)
	}
	if full.Reset(); full != (Window{}) {
		t.Error("not empty after a reset")
	}
}

// Readers do not take values from each other, and counts do not get lost between
// goroutines.
func TestReaders(t *testing.T) {
	t.Parallel()
	var h Histogram
	var first, second Reader
	var w Window
	var total uint64
	h.Observe(1)
	first.Next(&h, &w)
	total += w.Count()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10_000 {
				h.Observe(float64(i))
			}
		})
	}
	for range 10 {
		first.Next(&h, &w)
		total += w.Count()
	}
	wg.Wait()
	first.Next(&h, &w)
	if total += w.Count(); total != 40_001 {
		t.Errorf("%d values in all windows of a reader", total)
	}
	first.Next(&h, &w)
	if w != (Window{}) {
		t.Errorf("%d values read twice", w.Count())
	}
	second.Next(&h, &w)
	if got := w.Quantile(0.5); w.Count() != 40_001 || math.Abs(got/5000-1) > 0.02 {
		t.Errorf("the other reader: %d values, %v", w.Count(), got)
	}
	sum, before := uint64(0), 0.0
	for upper, n := range h.All() {
		if sum += n; upper <= before {
			t.Errorf("bucket below %v after %v", upper, before)
		}
		before = upper
	}
	if sum != 40_001 {
		t.Errorf("%d values in all buckets", sum)
	}
	// The buckets are those of the call, and a value that is a bound is below it.
	all := h.All()
	h.Observe(1)
	sum = 0
	for upper, n := range all {
		if upper <= 1 {
			sum += n
		}
	}
	if sum != 9 {
		t.Errorf("%d values of 0 and 1", sum)
	}
}

// A count that passes 2³² is read as usual.
func TestReaderWraps(t *testing.T) {
	t.Parallel()
	var h Histogram
	var r Reader
	var w Window
	h.counts[index(1)].Store(1<<32 - 1)
	r.Next(&h, &w)
	h.Observe(1)
	h.Observe(1)
	if r.Next(&h, &w); w.Count() != 2 {
		t.Errorf("%d values", w.Count())
	}
}

func TestMemory(t *testing.T) {
	if n := unsafe.Sizeof(Histogram{}); n > 8<<10 {
		t.Errorf("a histogram takes %d bytes", n)
	}
	if n := max(unsafe.Sizeof(Reader{}), unsafe.Sizeof(Window{})); n > 5<<10 {
		t.Errorf("a reader or window takes %d bytes", n)
	}
	var h Histogram
	var r Reader
	var w Window
	if n := testing.AllocsPerRun(100, func() { h.Observe(3); r.Next(&h, &w); w.Observe(3); w.Quantile(0.5) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzQuantile: the quantile of two values is within 2 % of one of them.
func FuzzQuantile(f *testing.F) {
	f.Add(1.0, 2.0, 0.5)
	f.Add(-1.0, math.Inf(1), 0.99)
	f.Add(math.NaN(), lowest, -1.0)
	f.Add(float64(highest), 1e9, 2.0)
	f.Fuzz(func(t *testing.T, a, b, q float64) {
		var w Window
		w.Observe(a)
		w.Observe(b)
		got := w.Quantile(q)
		near := func(v float64) bool {
			switch {
			case !(v > lowest):
				return got == 0
			case v > highest:
				return got == highest
			}
			return math.Abs(got/v-1) <= 0.02
		}
		if !near(a) && !near(b) {
			t.Errorf("%v of %v and %v: %v", q, a, b, got)
		}
	})
}

// The values are drawn in advance, and lie in 300 buckets.
func values() []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float64, 1<<10)
	for i := range v {
		v[i] = 20 * r.ExpFloat64()
	}
	return v
}

func BenchmarkObserve(b *testing.B) {
	v := values()
	b.Run("histogram", func(b *testing.B) {
		var h Histogram
		for i := 0; b.Loop(); i++ {
			h.Observe(v[i%len(v)])
		}
	})
	b.Run("window", func(b *testing.B) {
		var w Window
		for i := 0; b.Loop(); i++ {
			w.Observe(v[i%len(v)])
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var h Histogram
	for _, v := range values() {
		h.Observe(v)
	}
	var r Reader
	var w Window
	b.Run("next", func(b *testing.B) {
		for b.Loop() {
			r.last[700]--
			r.Next(&h, &w)
		}
	})
	b.Run("quantile", func(b *testing.B) {
		for b.Loop() {
			w.Quantile(0.99)
		}
	})
}
