package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// Memory stays bounded with any number of names, of one node or of many, and the values of
// others are there when that is over.
func TestWindowsManyNames(t *testing.T) { manyNames(t, 100_000) }

func TestLongWindowsManyNames(t *testing.T) {
	testkit.SkipLong(t)
	manyNames(t, 1_000_000)
}

func manyNames(t *testing.T, count int) {
	if testkit.Race {
		t.Skip("the race detector takes memory")
	}
	const limit = 4 << 20
	for name, node := range map[string]func(i int) string{
		"one node":               func(int) string { return "hostile" },
		"a node for each":        func(i int) string { return fmt.Sprint("hostile", i) },
		"one node after another": func(i int) string { return fmt.Sprint("hostile", i/20_000) },
	} {
		before := testkit.Heap()
		w := NewWindows(WindowOptions{MaxBytes: limit})
		good := []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 2)}
		now, most := start, int64(0)
		for i := range count {
			w.Offer("C", node(i), []xdr.Param{xdr.Int(fmt.Sprint("name", i), i)}, now, 0)
			if i%100 == 0 {
				now = now.Add(time.Millisecond)
				w.Offer("C", "good", good, now, 0)
			}
			most = max(most, w.bytes.Load())
		}
		grown := testkit.Heap() - before
		st := w.Stats()
		t.Logf("%s: %d bytes taken, %d counted, %d series", name, grown, st.Bytes, st.Series)
		if grown > limit+limit/10 || most > limit || st.DroppedSeries < uint64(count)*8/10 {
			t.Errorf("%s: %d bytes taken, %+v", name, grown, st)
		}
		if s := w.Series(now, "C", "good"); len(s) != 2 || s[0].Points < 3 {
			t.Errorf("%s: %+v", name, s)
		}
		audit(t, w)
	}
}

// Names and texts of the greatest length are bounded and counted like others.
func TestWindowsLongNames(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector takes memory")
	}
	const limit = 8 << 20
	before := testkit.Heap()
	w := NewWindows(WindowOptions{MaxBytes: limit})
	long := strings.Repeat("x", xdr.MaxString-5)
	for i := range 5000 {
		now := start.Add(time.Duration(i) * time.Second)
		w.Offer(fmt.Sprint(i%50, long), fmt.Sprint(i, long), []xdr.Param{xdr.Int(fmt.Sprint(i, long), 1)}, now, 0)
		w.Offer("C", "N", []xdr.Param{xdr.String("text", fmt.Sprint(i, long))}, now, 0)
	}
	grown := testkit.Heap() - before
	audit(t, w)
	if st := w.Stats(); grown > limit+limit/10 || st.Bytes > limit || st.Bytes < limit/2 {
		t.Errorf("%d bytes taken, %+v", grown, st)
	}
	if s := w.Series(start.Add(5000*time.Second), "C", "N"); len(s) != 1 || s[0].Points != 2 || s[0].Last.Text() != fmt.Sprint(4999, long) {
		t.Error("the last text is not there")
	}
}

// Texts keep their changes only, and at most a number of them.
func TestWindowsTexts(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{})
	now := start
	for i := range 1000 {
		now = start.Add(time.Duration(i) * time.Second)
		w.Offer("C", "N", []xdr.Param{xdr.String("seldom", fmt.Sprint(i/300)), xdr.String("often", fmt.Sprint(i))}, now, 0)
	}
	if got := fmt.Sprint(points(t, w, "C", "N", "seldom")); got != `[0 "0" 300 "1" 600 "2" 900 "3"]` {
		t.Error(got)
	}
	if got := points(t, w, "C", "N", "often"); len(got) != maxTexts || got[0] != `900 "900"` || got[99] != `999 "999"` {
		t.Error(got)
	}
	if s := w.Series(now, "C", "N"); !s[0].Received.Equal(now) || s[0].Points != 4 {
		t.Errorf("%+v", s[0])
	}
	audit(t, w)
}

// A series with thousands of values per second keeps their extremes and takes no room from
// others.
func TestWindowsHighRate(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	w := NewWindows(WindowOptions{MaxBytes: 200_000})
	for i := range 240 {
		w.Offer("C", "slow", []xdr.Param{xdr.Int("x", i)}, start.Add(time.Duration(i)*15*time.Second), 0)
	}
	type extremes struct{ least, greatest float64 }
	var seconds, got [62]extremes // the first and the last one are empty
	for i := range seconds {
		seconds[i] = extremes{math.Inf(1), math.Inf(-1)}
	}
	got = seconds
	add := func(s *extremes, v float64) { s.least, s.greatest = min(s.least, v), max(s.greatest, v) }
	var last float64
	const rate, count = 2000, 60
	begin := start.Add(240 * 15 * time.Second)
	for i := range rate * count {
		now := begin.Add(time.Duration(i) * time.Second / rate)
		v := rnd.NormFloat64()
		w.Offer("C", "fast", []xdr.Param{xdr.Float("x", v), xdr.String("t", fmt.Sprint(i))}, now, 0)
		if i%2 == 0 { // a series that is a number or a text in turn
			w.Offer("C", "fast", []xdr.Param{xdr.String("m", "x")}, now, 0)
		} else {
			w.Offer("C", "fast", []xdr.Param{xdr.Int("m", i)}, now, 0)
		}
		add(&seconds[1+i/rate], v)
		last = v
	}
	all, _ := w.Points(nil, "C", "fast", "x", begin, begin.Add(time.Hour))
	if n := len(all); n > count*maxPerInterval*21/20 {
		t.Errorf("%d values are kept", n)
	}
	for _, p := range all {
		add(&got[1+int(p.Time.Sub(begin)/time.Second)], p.Value.Float())
	}
	// Intervals need not begin with a second.
	for i := 1; i <= count; i++ {
		if min(got[i-1].least, got[i].least, got[i+1].least) > seconds[i].least || max(got[i-1].greatest, got[i].greatest, got[i+1].greatest) < seconds[i].greatest {
			t.Errorf("second %d: the extremes are %v, near it are %v", i, seconds[i], got[i-1:i+2])
		}
	}
	if v := all[len(all)-1].Value.Float(); v != last {
		t.Errorf("the last value is %v, want %v", v, last)
	}
	for _, name := range []string{"t", "m"} {
		if p, _ := w.Points(nil, "C", "fast", name, begin, begin.Add(time.Hour)); len(p) > count*maxPerInterval {
			t.Errorf("%s: %d values", name, len(p))
		}
	}
	if p := points(t, w, "C", "slow", "x"); len(p) != 240 {
		t.Errorf("%d values of the other series", len(p))
	}
	if st := w.Stats(); st.DroppedPoints+st.DroppedSeries > 0 {
		t.Errorf("%+v", st)
	}
	audit(t, w)
}

// If the memory does not suffice, all series go back equally far, and silent ones go last.
func TestWindowsShrinkEvenly(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{MaxBytes: 200_000})
	now := start
	w.Offer("C", "silent", []xdr.Param{xdr.Int("x", 1)}, now, 0)
	for i := range 3600 {
		now = start.Add(time.Duration(i) * time.Second)
		w.Offer("C", "fast", []xdr.Param{xdr.Int("a", i), xdr.Int("b", i), xdr.Int("c", i), xdr.Int("d", i)}, now, 0)
		w.Offer("D", "fast", []xdr.Param{xdr.Int("a", i), xdr.Int("b", i), xdr.Int("c", i), xdr.Int("d", i)}, now, 0)
		if i%5 == 0 {
			w.Offer("C", "slow", []xdr.Param{xdr.Int("a", i), xdr.Int("b", i)}, now, 0)
		}
	}
	st := w.Stats()
	if st.Bytes > 200_000 || st.Bytes < 195_000 || st.DroppedPoints == 0 {
		t.Errorf("%+v", st)
	}
	oldest := map[string]time.Duration{}
	w.EachSeries(now, func(s *SeriesInfo) {
		oldest[s.Cluster+s.Node] = 0
	})
	for key := range oldest {
		p, _ := w.Points(nil, key[:1], key[1:], "a", start, now)
		oldest[key] = now.Sub(p[0].Time)
	}
	t.Log(oldest, st)
	// A run of 64 values is dropped as a whole.
	if d := oldest["Cfast"] - oldest["Dfast"]; d.Abs() > 65*time.Second {
		t.Errorf("%v", oldest)
	}
	if d := oldest["Cslow"] - oldest["Cfast"]; d < -65*time.Second || d > 65*5*time.Second {
		t.Errorf("%v", oldest)
	}
	if _, ok := oldest["Csilent"]; ok || st.DroppedSeries != 1 { // older than all others
		t.Errorf("%v, %+v", oldest, st)
	}
	audit(t, w)
}

// The clock may be set forth and back.
func TestWindowsClock(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{})
	offer := func(v int, at time.Duration) {
		w.Offer("C", "N", []xdr.Param{xdr.Int("x", v)}, start.Add(at), 0)
	}
	offer(1, 0)
	offer(2, time.Minute)
	offer(3, time.Minute-time.Second) // a small step back
	offer(4, 30*time.Hour)
	offer(5, 2*time.Minute)
	offer(6, 3*time.Minute)
	got, _ := w.Points(nil, "C", "N", "x", start, start.Add(3*time.Minute))
	var lines []string
	for _, p := range got {
		lines = append(lines, fmt.Sprint(p.Time.Sub(start).Seconds(), "=", p.Value.Int()))
	}
	if s := strings.Join(lines, " "); !strings.HasSuffix(s, "120=5 180=6") || strings.Contains(s, "=4") {
		t.Error(s)
	}
	// Values with a time to come leave later.
	w.Nodes(start.Add(4*time.Minute), "")
	if all := points(t, w, "C", "N", "x"); strings.Contains(fmt.Sprint(all), "int32 4") {
		t.Error(all)
	}
	if s := w.Series(start.Add(4*time.Minute), "C", "N"); len(s) != 1 || s[0].Last.Int() != 6 {
		t.Errorf("%+v", s)
	}
	audit(t, w)
}

func TestWindowsForget(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{})
	for i := range 100 {
		for _, node := range []string{"a", "b"} {
			w.Offer("C", node, []xdr.Param{xdr.Int("x", i), xdr.String("s", fmt.Sprint(i/10))}, start.Add(time.Duration(i)*time.Second), 0)
		}
	}
	now := start.Add(100 * time.Second)
	one := w.Stats().Bytes / 2
	w.Forget(func(_, node string) bool { return node == "a" })
	audit(t, w)
	if st := w.Stats(); st.Bytes != one || st.Series != 2 || st.DroppedPoints+st.DroppedSeries > 0 {
		t.Errorf("%+v", st)
	}
	if _, ok := w.Points(nil, "C", "a", "x", start, now); ok || w.Series(now, "C", "a") != nil || len(w.Nodes(now, "C")) != 1 || len(w.Nodes(now, "D")) != 0 {
		t.Error("a forgotten node is there")
	}
	w.Offer("C", "a", []xdr.Param{xdr.Int("x", 7)}, now, 0)
	if got := points(t, w, "C", "a", "x"); len(got) != 1 {
		t.Error(got)
	}
	audit(t, w)
}

// An Offer allocates nothing but runs.
func TestWindowsOfferDoesNotAllocate(t *testing.T) {
	w := NewWindows(WindowOptions{})
	params := []xdr.Param{xdr.Int("a", 1), xdr.Float("b", 1), xdr.String("c", "x")}
	now := start
	run := func() {
		for range 3 * maxPerInterval {
			w.Offer("C", "N", params, now, 0)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations within an interval", n)
	}
	// Two for each run of the two numbers.
	n := testing.AllocsPerRun(1, func() {
		for range 10 * maxRun {
			now = now.Add(time.Second)
			w.Offer("C", "N", params, now, 0)
		}
	})
	if n > 2*2*11+10 {
		t.Errorf("%v allocations for ten runs of two series", n)
	}
}
