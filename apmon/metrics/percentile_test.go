package metrics

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Each reader has percentiles of its own period, whatever its length.
func TestPercentilesOfEachReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		m := reg.Measure("m")
		m.Observe(1e6) // before the readers
		often, seldom := reg.NewReader(), reg.NewReader()
		near := func(got map[string]float64, name string, want float64) {
			t.Helper()
			if g, ok := got[name]; !ok || math.Abs(g-want) > .02*want {
				t.Errorf("%s: %v (%v), want %v", name, g, ok, want)
			}
		}
		for i := range 12 { // 120 s
			for v := range 1000 {
				m.Observe(float64(1000*i + v + 1))
			}
			time.Sleep(10 * time.Second)
			got := read(t, often)
			near(got, "m_p50", float64(1000*i+500))
			near(got, "m_p90", float64(1000*i+900))
			near(got, "m_p99", float64(1000*i+990))
			if _, err := reg.Totals(); err != nil {
				t.Error(err)
			}
		}
		got := read(t, seldom)
		near(got, "m_p50", 6000)
		near(got, "m_p90", 10800)
		near(got, "m_p99", 11880)
		want(t, got, map[string]float64{"m_cnt": 12000, "m_min": 1, "m_max": 12000})
		absent(t, read(t, seldom), "m_p50", "m_p90", "m_p99")
		m.Observe(-3) // the extremes are exact
		want(t, read(t, often), map[string]float64{"m_p50": -3, "m_p99": -3})
		// A reader may read between the two parts of Observe.
		m.values.Observe(7)
		absent(t, read(t, often), "m_p50")
		m.cells[0].span.add(span{7, 1, 7, 7})
		want(t, read(t, often), map[string]float64{"m_cnt": 1, "m_p50": 7, "m_p99": 7})
	})
}

// Totals only grow, and take nothing from readers.
func TestTotals(t *testing.T) {
	t.Parallel()
	reg := New()
	rd := reg.NewReader()
	reg.Counter("c").Add(3)
	reg.Sum("s").Add(-2.5)
	reg.Sum("s").Add(math.NaN())
	reg.Gauge("unset")
	reg.Gauge("g").Set(7)
	reg.Cache("h").Hit()
	reg.Cache("h").Miss()
	reg.Measure("m").Observe(4)
	reg.Measure("timed").Start().Stop()
	reg.Describe("m", "KB", "size of things")
	reg.Describe("timed", "s", "timers count in ms all the same")
	for range 3 {
		totals, err := reg.Totals()
		if err != nil || len(totals) != 6 {
			t.Fatal(totals, err)
		}
		for _, total := range totals {
			var n uint64
			if total.Buckets != nil {
				for _, more := range total.Buckets {
					n += more
				}
			}
			wanted := map[string]float64{"c": 3, "s": -2.5, "g": 7, "h": 1, "m": 4, "timed": total.Value}[total.Name]
			unit := map[string]string{"m": "KB", "timed": "ms"}[total.Name]
			if total.Value != wanted || total.Unit != unit || (n == 1) != (total.Kind == KindMeasure) || total.Name == "h" && total.Misses != 1 {
				t.Errorf("%+v, %d values", total, n)
			}
		}
	}
	if reg.Stats().Ignored != 1 {
		t.Error(reg.Stats())
	}
	want(t, read(t, rd), map[string]float64{"m_sum": 4, "m_cnt": 1, "m_max": 4, "s": -2.5})
}

// The percentiles of a measure take 8 KB, and those of each further reader 5 KB at most.
func TestMemoryOfPercentiles(t *testing.T) { // not in parallel: others allocate
	const n = 200
	reg := New()
	before := testkit.Heap()
	var all []*Measure
	for i := range n {
		all = append(all, reg.Measure(fmt.Sprint("m", i)))
	}
	// 4 KB are for the sums, the name and the names of the parameters.
	if per := (testkit.Heap() - before) / n; per > 8<<10+4<<10 || unsafe.Sizeof(all[0].values) > 8<<10 {
		t.Errorf("%d bytes for a measure", per)
	}
	before = testkit.Heap()
	rd := reg.NewReader()
	for _, m := range all {
		m.Observe(1)
	}
	if values, err := rd.Read(); err != nil || len(values) != n*len(tables[KindMeasure]) {
		t.Error(len(values), err)
	}
	per := (testkit.Heap() - before) / n
	t.Logf("%d bytes of a reader for a measure", per)
	if per > 5<<10 {
		t.Errorf("%d bytes of a reader for a measure", per)
	}
	runtime.KeepAlive(rd)
}
