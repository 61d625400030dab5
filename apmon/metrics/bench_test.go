package metrics

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// bench measures f in one goroutine, and in one for each processor.
func bench(b *testing.B, f func()) {
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f()
			}
		})
	})
}

func BenchmarkCounterAdd(b *testing.B) {
	c := New().Counter("c")
	bench(b, func() { c.Add(1) })
}

// BenchmarkCounterOfOneNumber measures a counter without shards, for comparison.
func BenchmarkCounterOfOneNumber(b *testing.B) {
	var n atomic.Int64
	bench(b, func() { n.Add(1) })
}

func BenchmarkGaugeSet(b *testing.B) {
	g := New().Gauge("g")
	bench(b, func() { g.Set(7) })
}

// BenchmarkGaugeSetRising sets a new maximum each time.
func BenchmarkGaugeSetRising(b *testing.B) {
	g := New().Gauge("g")
	v := 0.
	b.ReportAllocs()
	for b.Loop() {
		v++
		g.Set(v)
	}
}

func BenchmarkMeasureObserve(b *testing.B) {
	m := New().Measure("m")
	bench(b, func() { m.Observe(1.5) })
}

func BenchmarkMeasureTimer(b *testing.B) {
	m := New().Measure("m")
	bench(b, func() { m.Start().Stop() })
}

func BenchmarkCacheHit(b *testing.B) {
	c := New().Cache("c")
	bench(b, c.Hit)
}

func BenchmarkLookup(b *testing.B) {
	reg := New()
	bench(b, func() { reg.Counter("requests").Add(1) })
}

// BenchmarkRead reads 100 metrics, with other readers that never read.
func BenchmarkRead(b *testing.B) {
	for _, readers := range []int{0, 10} {
		b.Run(fmt.Sprint("others=", readers), func(b *testing.B) {
			reg := New()
			for i := range 25 {
				reg.Counter(fmt.Sprint("c", i)).Add(1)
				reg.Gauge(fmt.Sprint("g", i)).Set(1)
				reg.Measure(fmt.Sprint("m", i)).Observe(1)
				reg.Cache(fmt.Sprint("h", i)).Hit()
			}
			var idle []*Reader
			for range readers {
				idle = append(idle, reg.NewReader())
			}
			rd := reg.NewReader()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rd.Read(); err != nil {
					b.Fatal(err)
				}
			}
			_ = idle[:0]
		})
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	reg := New()
	rd := reg.NewReader()
	c, g, m, h := reg.Counter("c"), reg.Gauge("g"), reg.Measure("m"), reg.Cache("h")
	v := 0.
	if n := testing.AllocsPerRun(1000, func() {
		v++
		c.Add(1)
		g.Set(v)
		g.Add(-v)
		m.Observe(v)
		m.Start().Stop()
		h.Hit()
		h.Miss()
		reg.Counter("c").Add(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	want(t, read(t, rd), map[string]float64{"c": 2002})
}
