package metrics

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/internal/histogram"
)

// Measure collects single values, such as durations or sizes. Make one with
// [Registry.Measure]. Percentiles are within 2 % of values between 2⁻¹⁰ (0.00098) and 2³⁰
// (1.07e9), and 0 or 2³⁰ outside, limited by the minimum and the maximum: measure times in ms
// rather than in s, and files in KB rather than in bytes.
type Measure struct {
	cells [shards]struct {
		mu sync.Mutex
		span
		_ [cacheLine - 40]byte
	}
	values  histogram.Histogram // since the start
	all     span                // what was cut since the start; guarded by the registry's reading
	timed   atomic.Bool         // a timer was started: the values are in ms
	ignored *atomic.Uint64
}

// span sums up the values of a period.
type span struct {
	sum, cnt, min, max float64
}

// empty is a period without values.
var empty = span{min: math.Inf(1), max: math.Inf(-1)}

// add adds the values of another period.
func (s *span) add(o span) {
	s.sum += o.sum
	s.cnt += o.cnt
	s.min = min(s.min, o.min)
	s.max = max(s.max, o.max)
}

func newMeasure(ignored *atomic.Uint64) *Measure {
	m := &Measure{all: empty, ignored: ignored}
	m.cut()
	return m
}

// Observe adds one value. NaN and infinities are ignored and counted, see
// [Stats].
func (m *Measure) Observe(v float64) {
	if v-v != 0 { // NaN for NaN and infinities alike
		m.ignored.Add(1)
		return
	}
	m.values.Observe(v)
	c := &m.cells[shard()]
	c.mu.Lock()
	c.sum += v
	c.cnt++
	if v < c.min {
		c.min = v
	}
	if v > c.max {
		c.max = v
	}
	c.mu.Unlock()
}

// Start starts a timer. To measure a function: defer m.Start().Stop().
func (m *Measure) Start() Timer {
	if !m.timed.Load() {
		m.timed.Store(true)
	}
	return Timer{m, time.Now()}
}

// Timer measures a duration.
type Timer struct {
	m     *Measure
	start time.Time
}

// Stop observes the time since the start, in ms, and returns it. Each call adds a value.
func (t Timer) Stop() time.Duration {
	took := time.Since(t.start)
	t.m.Observe(took.Seconds() * 1000)
	return took
}

// cut returns the sums since the last cut, and resets them. The caller holds the
// registry's reading.
func (m *Measure) cut() span {
	s := empty
	for i := range m.cells {
		c := &m.cells[i]
		c.mu.Lock()
		s.add(c.span)
		c.span = empty
		c.mu.Unlock()
	}
	m.all.add(s)
	return s
}
