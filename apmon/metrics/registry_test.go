package metrics

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/testkit"
)

func TestParametersOfEachKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		rd := reg.NewReader()
		reg.Counter("requests").Add(30)
		g := reg.Gauge("queue_len")
		reg.Gauge("never_set")
		m := reg.Measure("lookup")
		c := reg.Cache("names")
		got := read(t, rd)
		want(t, got, map[string]float64{"requests": 30, "lookup_sum": 0, "lookup_cnt": 0, "names_hits": 0, "names_abs_total": 0})
		absent(t, got, "requests_R", "queue_len", "queue_len_min", "never_set", "never_set_max", "lookup_avg", "lookup_min", "lookup_max",
			"names_hit_percent", "names_abs_miss_percent", "names_abs_hits_R") // no time has passed, nothing was observed

		for _, v := range []float64{7, -2, 9, 3} {
			g.Set(v)
			m.Observe(v)
		}
		c.Hit()
		c.Hit()
		c.Hit()
		c.Miss()
		time.Sleep(10 * time.Second)
		want(t, read(t, rd), map[string]float64{
			"requests": 30, "requests_R": 3, // with those counted while no time had passed
			"queue_len": 3, "queue_len_min": -2, "queue_len_max": 9,
			"lookup_sum": 17, "lookup_cnt": 4, "lookup_avg": 4.25, "lookup_min": -2, "lookup_max": 9, "lookup_R": 1.7, "lookup_cnt_R": 0.4,
			"names_hits": 3, "names_misses": 1, "names_total": 4, "names_hit_percent": 75, "names_miss_percent": 25,
			"names_hits_R": 0.3, "names_misses_R": 0.1, "names_total_R": 0.4,
			"names_abs_hits": 3, "names_abs_misses": 1, "names_abs_total": 4, "names_abs_hit_percent": 75, "names_abs_miss_percent": 25,
			"names_abs_hits_R": 0.3, "names_abs_misses_R": 0.1, "names_abs_total_R": 0.4,
		})

		c.Miss()
		reg.Counter("requests").Add(10)
		time.Sleep(5 * time.Second)
		got = read(t, rd)
		want(t, got, map[string]float64{
			"requests": 40, "requests_R": 2,
			"queue_len": 3, "queue_len_min": 3, "queue_len_max": 3,
			"lookup_sum": 0, "lookup_cnt": 0, "lookup_R": 0,
			"names_hits": 0, "names_misses": 1, "names_hit_percent": 0, "names_miss_percent": 100, "names_abs_hits": 3, "names_abs_total": 5,
		})
		absent(t, got, "lookup_avg", "lookup_min", "lookup_max")
	})
}

func TestReadersTakeNothingFromEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		idle, a, b := reg.NewReader(), reg.NewReader(), reg.NewReader()
		g, m, c := reg.Gauge("g"), reg.Measure("m"), reg.Counter("c")
		g.Set(5)
		m.Observe(5)
		c.Add(5)
		time.Sleep(time.Second)
		want(t, read(t, a), map[string]float64{"g": 5, "g_min": 5, "g_max": 5, "m_sum": 5, "c_R": 5})
		g.Set(1)
		g.Set(8)
		g.Set(6)
		m.Observe(2)
		c.Add(3)
		time.Sleep(time.Second)
		want(t, read(t, a), map[string]float64{"g": 6, "g_min": 1, "g_max": 8, "m_sum": 2, "m_cnt": 1, "m_max": 2, "c_R": 3})
		want(t, read(t, b), map[string]float64{"g": 6, "g_min": 1, "g_max": 8, "m_sum": 7, "m_cnt": 2, "m_max": 5, "m_avg": 3.5, "c_R": 4})
		want(t, read(t, a), map[string]float64{"g_min": 6, "g_max": 6, "m_cnt": 0})
		late := reg.NewReader()
		time.Sleep(time.Second)
		want(t, read(t, late), map[string]float64{"g": 6, "g_min": 6, "g_max": 6, "m_cnt": 0, "c": 8, "c_R": 0})
		want(t, read(t, idle), map[string]float64{"g_min": 1, "g_max": 8, "m_sum": 7, "c": 8})
	})
}

func TestForgottenReadersAreForgotten(t *testing.T) {
	t.Parallel()
	reg := New()
	kept := reg.NewReader()
	gone := func() weak.Pointer[Reader] { return weak.Make(reg.NewReader()) }()
	testkit.Eventually(t, "the collector", func() bool { runtime.GC(); return gone.Value() == nil })
	read(t, kept)
	reg.reading.Lock()
	defer reg.reading.Unlock()
	if n := len(reg.readers); n != 1 {
		t.Errorf("%d readers", n)
	}
}

func TestSumsAreExact(t *testing.T) {
	t.Parallel()
	const goroutines, each = 16, 2000
	reg := New()
	rd, other := reg.NewReader(), reg.NewReader()
	stop := make(chan struct{})
	sums := map[string]float64{}
	lowest, highest := math.Inf(1), math.Inf(-1)
	take := func() {
		got := read(t, rd)
		for _, name := range []string{"m_sum", "m_cnt", "names_hits", "names_misses"} {
			sums[name] += got[name]
		}
		if min, ok := got["g_min"]; ok {
			if min > got["g"] || got["g"] > got["g_max"] {
				t.Errorf("value %v, min %v, max %v", got["g"], min, got["g_max"])
			}
			lowest, highest = math.Min(lowest, min), math.Max(highest, got["g_max"])
		}
	}
	var reads, work sync.WaitGroup
	reads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				take()
				read(t, other)
			}
		}
	})
	for i := range goroutines {
		work.Go(func() {
			for j := range each {
				reg.Counter("c").Add(2)
				reg.Measure("m").Observe(float64(j))
				reg.Gauge("g").Set(float64(i*each + j))
				reg.Gauge("in_progress").Add(1)
				reg.Gauge("in_progress").Add(-1)
				reg.Cache("names").Hit()
				if j%2 == 0 {
					reg.Cache("names").Miss()
				}
			}
		})
	}
	work.Wait()
	close(stop)
	reads.Wait()
	take()
	const n = goroutines * each
	want(t, sums, map[string]float64{"m_cnt": n, "m_sum": goroutines * each * (each - 1) / 2, "names_hits": n, "names_misses": n / 2})
	want(t, read(t, rd), map[string]float64{"c": 2 * n, "in_progress": 0, "names_abs_hits": n, "names_abs_total": n * 3 / 2})
	if reg.Counter("c").Total() != 2*n || lowest != 0 || highest != n-1 {
		t.Errorf("total %d, lowest %v, highest %v", reg.Counter("c").Total(), lowest, highest)
	}
}

func TestInputThatIsNoNumberIsIgnored(t *testing.T) {
	t.Parallel()
	reg := New()
	rd := reg.NewReader()
	g, m, c := reg.Gauge("g"), reg.Measure("m"), reg.Counter("c")
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		g.Set(v)
		g.Add(v)
		m.Observe(v)
	}
	c.Add(-1)
	got := read(t, rd)
	absent(t, got, "g", "g_min")
	want(t, got, map[string]float64{"m_cnt": 0, "c": 0})
	g.Set(math.MaxFloat64)
	g.Add(math.MaxFloat64)
	m.Observe(math.MaxFloat64)
	m.Observe(math.MaxFloat64)
	if got, want := reg.Stats(), (Stats{Ignored: 11}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// An infinite sum is unknown, and does not affect the next.
	got = read(t, rd)
	absent(t, got, "m_sum", "m_avg")
	want(t, got, map[string]float64{"m_cnt": 2, "m_max": math.MaxFloat64, "g": math.MaxFloat64})
	m.Observe(1)
	want(t, read(t, rd), map[string]float64{"m_sum": 1})
}

func TestNames(t *testing.T) {
	t.Parallel()
	reg := New()
	a, b := reg.Counter("a"), reg.Cache("b")
	if reg.Counter("a") != a || reg.Cache("b") != b {
		t.Error("two of one name")
	}
	if err := reg.Err(); err != nil {
		t.Fatal(err)
	}
	reg.Gauge("rate_R").Set(1)
	for range 3 {
		reg.Gauge("a").Set(1)
		reg.Counter(" \t").Add(1)
		reg.Counter("rate").Add(1) // would send rate_R
		reg.Measure(strings.Repeat("x", 32766)).Observe(1)
	}
	err := reg.Err()
	want1 := `metrics: gauge "a" is a counter already
metrics: counter " \t": bad name: empty or blank
metrics: counter "rate" would send "rate_R", which is sent by "rate_R" already
metrics: measure "` + strings.Repeat("x", 64) + `"… (32770 bytes): bad name: 32770 bytes, a datagram has at most 8192`
	if d := cmp.Diff(want1, err.Error()); d != "" || !errors.Is(err, apmon.ErrBadName) {
		t.Errorf("%v: %s", err, d)
	}
	values, err := reg.NewReader().Read()
	if err == nil || err.Error() != want1 {
		t.Errorf("Read: %v", err)
	}
	got := numbers(t, values)
	want(t, got, map[string]float64{"a": 0, "rate_R": 1})
	absent(t, got, "rate", "a_min", " \t")
	for i := range 100 {
		reg.Gauge("b" + strings.Repeat("_", i) + "\x00")
		reg.Counter(strings.Repeat(" ", i))
		reg.Gauge("a")
	}
	if n := strings.Count(reg.Err().Error(), "\n") + 1; n > maxErrors {
		t.Errorf("%d errors kept", n)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	reg := New()
	rd := reg.NewReader()
	reg.Counter("c").Add(1)
	reg.AddFunc(func(add func(apmon.Param)) {
		add(apmon.Int("threads", 4))
		add(apmon.String("state", "RUNNING"))
		add(apmon.Float("nan", math.NaN()))
		add(apmon.Int("c", 7)) // sent by the counter
		add(apmon.Int("", 7))
		add(apmon.Float("share", 0.5))
	})
	reg.AddFunc(func(add func(apmon.Param)) {
		add(apmon.Int("before", 1))
		add(apmon.Int("threads", 5)) // sent by the first function
		panic("oops")
	})
	reg.AddFunc(func(add func(apmon.Param)) {
		reg.Gauge("made_inside").Set(1)
		add(apmon.Int("after", 1))
	})
	values, err := rd.Read()
	for _, w := range []string{`parameter "nan": bad value`, `parameter "threads" is sent already`, "panic in a function: oops"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v lacks %q", err, w)
		}
	}
	got := numbers(t, values)
	want(t, got, map[string]float64{"c": 1, "threads": 4, "share": 0.5, "before": 1, "after": 1})
	absent(t, got, "nan", "")
	for _, v := range values {
		if v.Name == "threads" && v.Type() != 5 {
			t.Errorf("threads travels as %v", v.Type())
		}
		if v.Name == "state" && v.Text() != "RUNNING" {
			t.Errorf("state: %q", v.Text())
		}
	}
	if s := reg.Stats(); s != (Stats{Ignored: 4, Panics: 1}) {
		t.Errorf("%+v", s)
	}
}

// A function that hangs, or ends its goroutine, costs one goroutine, however often the
// registry is read. Only its own parameters are missing.
func TestFunctionsThatDoNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		rd := reg.NewReader()
		reg.Counter("c").Add(1)
		release := make(chan struct{})
		var hung, exits atomic.Int64
		for range 3 {
			reg.AddFunc(func(add func(apmon.Param)) { hung.Add(1); <-release })
		}
		reg.AddFunc(func(add func(apmon.Param)) {
			exits.Add(1)
			add(apmon.Int("before", 1))
			runtime.Goexit()
		})
		reg.AddFunc(func(add func(apmon.Param)) { add(apmon.Int("good", 1)) })
		start := time.Now()
		var pages sync.WaitGroup
		for i := range 100 {
			pages.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 2)
				values, err := rd.Read()
				want(t, numbers(t, values), map[string]float64{"c": 1, "good": 1, "before": 1})
				for _, w := range []string{"TestFunctionsThatDoNotReturn", "has not returned for", "Goexit"} {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("error %v lacks %q", err, w)
					}
				}
			})
		}
		pages.Wait()
		if d := time.Since(start); d != 99*time.Second/2 { // the later ones do not wait
			t.Errorf("read until %v", d)
		}
		if n := hung.Load(); n != 3 {
			t.Errorf("the functions that hang were called %d times", n)
		}
		if n := exits.Load(); n < 80 {
			t.Errorf("the function that ends its goroutine was called %d times", n)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		start = time.Now()
		if params, err := rd.Collect(ctx, nil); len(params) == 0 || err == nil || time.Since(start) > 0 {
			t.Errorf("Collect: %v, %v after %v", params, err, time.Since(start))
		}
		close(release)
		synctest.Wait()
		if _, err := rd.Read(); err == nil || strings.Contains(err.Error(), "has not returned") {
			t.Errorf("after they have returned: %v", err)
		}
		if n := hung.Load(); n != 6 {
			t.Errorf("called %d times in all", n)
		}
	})
}

func TestTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		rd := reg.NewReader()
		func() {
			defer reg.Measure("work").Start().Stop()
			time.Sleep(1500 * time.Microsecond)
		}()
		want(t, read(t, rd), map[string]float64{"work_sum": 1.5, "work_cnt": 1, "work_R": 1000, "work_max": 1.5})
	})
}

func TestKindNames(t *testing.T) {
	if len(kindNames) != int(KindSum)+1 || KindCache.String() != "cache" || Kind(99).String() != "kind 99" {
		t.Error(kindNames)
	}
}
