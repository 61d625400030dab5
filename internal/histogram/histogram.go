// Package histogram counts values in fixed memory, for percentiles within 2 %.
//
// The buckets are log-linear: 40 octaves from 2⁻¹⁰ (0.00098) to 2³⁰ (1.07e9), each with 25
// buckets of equal width. A bucket holds its upper bound, but not its lower one, as the
// buckets of Prometheus do. A percentile is within 2 % of a value of that range. A value of
// 2⁻¹⁰ or less, such as zero or a negative value, is reported as 0, and one above 2³⁰ as 2³⁰; a
// caller that knows the minimum and maximum limits percentiles to them.
package histogram

import (
	"iter"
	"math"
	"sync/atomic"
)

const (
	lowest, highest = 1.0 / (1 << 10), 1 << 30
	octaves         = 40
	linear          = 25 // buckets per octave
	// buckets has a bucket below the range, and one above.
	buckets = octaves*linear + 2

	mantissa = 52 // bits
	exponent = 1023 - 10
)

// index returns the bucket of a value; NaN counts as 0.
func index(v float64) int {
	switch {
	case !(v > lowest):
		return 0
	case v > highest:
		return buckets - 1
	}
	b := math.Float64bits(v) - 1 // the value before, since a bucket holds its upper bound
	return 1 + int(b>>mantissa-exponent)*linear + int((b&(1<<mantissa-1))*linear>>mantissa)
}

// lower returns the bound that all values of a bucket within the range are above.
func lower(i int) float64 {
	octave, nth := uint64(i-1)/linear, uint64(i-1)%linear
	return math.Float64frombits((octave+exponent)<<mantissa + (nth<<mantissa+linear-1)/linear)
}

// middle returns the value that stands for a bucket: no value of the bucket differs from
// it by more than 1/51 of that value.
func middle(i int) float64 {
	switch i {
	case 0:
		return 0
	case buckets - 1:
		return highest
	}
	low, high := lower(i), lower(i+1)
	return 2 * low * high / (low + high)
}

// Window counts the values of a period, in 4 KB. It is not safe for concurrent use. The
// zero value is empty.
type Window struct {
	n      uint64
	counts [buckets]uint32 // a full count stays at its maximum
}

// Observe counts a value.
func (w *Window) Observe(v float64) {
	w.n++
	if c := &w.counts[index(v)]; *c < math.MaxUint32 {
		*c++
	}
}

// Merge adds the values of another window.
func (w *Window) Merge(o *Window) {
	w.n += o.n
	for i, n := range o.counts {
		w.counts[i] += min(n, math.MaxUint32-w.counts[i])
	}
}

// Reset removes all values.
func (w *Window) Reset() { *w = Window{} }

// Count returns the number of values.
func (w *Window) Count() uint64 { return w.n }

// Quantile returns the least value that at least the share q (0 to 1) of the values does
// not exceed, within 2 %. It is NaN without values.
func (w *Window) Quantile(q float64) float64 {
	if w.n == 0 {
		return math.NaN()
	}
	rank := max(1, uint64(math.Ceil(q*float64(w.n))))
	last := 0
	for i, n := range w.counts {
		if n == 0 {
			continue
		}
		if last = i; uint64(n) >= rank {
			break
		}
		rank -= uint64(n)
	}
	return middle(last)
}

// Histogram counts all values since its start, in 8 KB. It is safe for concurrent use.
// The zero value is empty.
type Histogram struct{ counts [buckets]atomic.Uint64 }

// Observe counts a value.
func (h *Histogram) Observe(v float64) { h.counts[index(v)].Add(1) }

// All yields the buckets that have values at the time of the call, in ascending order: the
// value that none of the bucket exceeds (+Inf for the last bucket), and their number, which
// never decreases.
func (h *Histogram) All() iter.Seq2[float64, uint64] {
	type bucket struct {
		upper float64
		n     uint64
	}
	var all []bucket
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			upper := math.Inf(1)
			if i < buckets-1 {
				upper = lower(i + 1)
			}
			all = append(all, bucket{upper, n})
		}
	}
	return func(yield func(float64, uint64) bool) {
		for _, b := range all {
			if !yield(b.upper, b.n) {
				return
			}
		}
	}
}

// Reader remembers what it has read of a histogram, in 4 KB, so that several readers have
// windows of their own. It is not safe for concurrent use. The zero value has read nothing.
type Reader struct{ last [buckets]uint32 }

// Next replaces the values of a window by those since the previous call: up to 2³² − 1
// of each bucket.
func (r *Reader) Next(h *Histogram, w *Window) {
	w.n = 0
	for i := range h.counts {
		n := uint32(h.counts[i].Load())
		w.counts[i] = n - r.last[i]
		w.n += uint64(w.counts[i])
		r.last[i] = n
	}
}
