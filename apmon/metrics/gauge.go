package metrics

import (
	"math"
	"sync/atomic"
)

// Gauge is a value that goes up and down, and its extremes. Make one with
// [Registry.Gauge]. Until it is set, it is unknown and not reported.
type Gauge struct {
	value    atomic.Uint64 // the bits of a float64; NaN while unknown
	min, max atomic.Uint64 // since the last cut; infinite if nothing was set
	ignored  *atomic.Uint64
}

func newGauge(ignored *atomic.Uint64) *Gauge {
	g := &Gauge{ignored: ignored}
	g.unset()
	g.cut()
	return g
}

// Set sets the value. NaN and infinities are ignored and counted, see [Stats].
func (g *Gauge) Set(v float64) {
	if v-v != 0 { // NaN for NaN and infinities alike
		g.ignored.Add(1)
		return
	}
	// Store the value first, for a reader between the two lines.
	g.value.Store(math.Float64bits(v))
	g.reach(v)
}

// Add adds d to the value, or to 0 while it is unknown. Use it for numbers that many
// goroutines change, such as requests in progress. If d or the sum is NaN or infinite,
// nothing is added, and the call is counted, see [Stats].
func (g *Gauge) Add(d float64) {
	for {
		old := g.value.Load()
		v := math.Float64frombits(old)
		if math.IsNaN(v) {
			v = 0
		}
		if v += d; v-v != 0 {
			g.ignored.Add(1)
			return
		}
		if g.value.CompareAndSwap(old, math.Float64bits(v)) {
			g.reach(v)
			return
		}
	}
}

// reach extends the extremes to v.
func (g *Gauge) reach(v float64) {
	for {
		old := g.min.Load()
		if !(v < math.Float64frombits(old)) || g.min.CompareAndSwap(old, math.Float64bits(v)) {
			break
		}
	}
	for {
		old := g.max.Load()
		if !(v > math.Float64frombits(old)) || g.max.CompareAndSwap(old, math.Float64bits(v)) {
			break
		}
	}
}

// load returns the value, NaN while it is unknown.
func (g *Gauge) load() float64 { return math.Float64frombits(g.value.Load()) }

// unset makes the value unknown.
func (g *Gauge) unset() { g.value.Store(math.Float64bits(math.NaN())) }

// cut returns the extremes since the last cut, and resets them.
func (g *Gauge) cut() span {
	s := empty
	s.min = math.Float64frombits(g.min.Swap(math.Float64bits(s.min)))
	s.max = math.Float64frombits(g.max.Swap(math.Float64bits(s.max)))
	return s
}
