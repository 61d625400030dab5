package history

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// points returns the values of a series from the start on, as seconds since it, type and value.
func points(t *testing.T, w *Windows, cluster, node, param string) []string {
	t.Helper()
	all, ok := w.Points(nil, cluster, node, param, start.Add(-24*time.Hour), start.Add(1000*time.Hour))
	if !ok {
		return nil
	}
	lines := []string{}
	for _, p := range all {
		lines = append(lines, fmt.Sprint(p.Time.Sub(start).Seconds(), " ", show(p.Value)))
	}
	return lines
}

// show returns the type and the value.
func show(p xdr.Param) string {
	switch p.Type() {
	case xdr.TypeString:
		return fmt.Sprintf("%q", p.Text())
	case xdr.TypeInt32, xdr.TypeInt64:
		return fmt.Sprint(p.Type(), " ", p.Int())
	}
	return fmt.Sprintf("%v %x", p.Type(), math.Float64bits(p.Float()))
}

// Values keep all bits and their type.
func TestWindowsExact(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{})
	values := []xdr.Param{
		xdr.Int("x", math.MinInt32), xdr.Int("x", math.MaxInt32), xdr.Int("x", -1),
		xdr.Int64("x", math.MinInt64), xdr.Int64("x", math.MaxInt64), xdr.Int64("x", 1<<53+1),
		xdr.Real32("x", math.MaxFloat32), xdr.Real32("x", math.SmallestNonzeroFloat32), xdr.Real32("x", 0.1),
		xdr.Float("x", math.Pi), xdr.Float("x", math.Copysign(0, -1)), xdr.Float("x", math.Inf(-1)), xdr.Float("x", math.NaN()),
		xdr.String("x", "a"), xdr.String("x", ""), xdr.String("x", "a"), xdr.Int("x", 0),
	}
	var want []string
	for i, p := range values {
		w.Offer("C", "N", []xdr.Param{p}, start.Add(time.Duration(i)*time.Second), 7)
		want = append(want, fmt.Sprint(i, " ", show(p)))
		for _, info := range w.Series(start, "C", "N") {
			if show(info.Last) != show(p) || info.Last.Name != "x" || info.Points != i+1 || info.Sent.Unix() != 7 {
				t.Errorf("%d: %+v", i, info)
			}
		}
	}
	if diff := cmp.Diff(want, points(t, w, "C", "N", "x")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := w.Nodes(start.Add(20*time.Second), ""); len(got) != 1 || got[0].Params != 1 || got[0].Name != "N" {
		t.Errorf("%+v", got)
	}
	if st := w.Stats(); st.Series != 1 || st.Nodes != 1 || st.Points != len(values) || st.DroppedPoints+st.DroppedSeries != 0 {
		t.Errorf("%+v", st)
	}
}

// The default memory holds an hour of 10 000 series with a value each 15 s, and what is counted
// is what it takes.
func TestWindowsHoldAnHour(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector takes memory")
	}
	for _, nodes := range []int{10_000, 10} {
		params := make([]xdr.Param, 10_000/nodes)
		names := make([]string, nodes)
		for i := range names {
			names[i] = fmt.Sprintf("node%d.example.org", i)
		}
		for i := range params {
			params[i] = xdr.Float(fmt.Sprintf("parameter_%d", i), float64(i))
		}
		before := testkit.Heap()
		w := NewWindows(WindowOptions{})
		const values = 300 // an hour has 240: runs at the beginning and the end are in part used
		for i := range values {
			for j, name := range names {
				w.Offer("Some_Cluster", name, params, start.Add(time.Duration(i)*15*time.Second+time.Duration(j)*time.Millisecond), 0)
			}
		}
		grown := testkit.Heap() - before
		st := w.Stats()
		t.Logf("%d nodes: %d points, %d bytes counted, %d taken", nodes, st.Points, st.Bytes, grown)
		if st.DroppedPoints+st.DroppedSeries > 0 || st.Series != 10_000 || st.Nodes != nodes || st.Points < 2_400_000 || st.Points > 2_400_000+10_000*maxRun {
			t.Errorf("%+v", st)
		}
		now := start.Add(values * 15 * time.Second)
		w.EachSeries(now, func(s *SeriesInfo) {
			if s.Points < 239 || s.Points > 241 {
				t.Fatalf("%d points", s.Points)
			}
		})
		if grown > st.Bytes+st.Bytes/20 || grown > DefaultWindowBytes {
			t.Errorf("%d bytes taken, %d counted", grown, st.Bytes)
		}
	}
}

// BenchmarkWindowsOffer is to be compared with BenchmarkOffer.
func BenchmarkWindowsOffer(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			w := NewWindows(WindowOptions{})
			// A datagram of each node every 15 s.
			benchmarkOffer(b, n, 15*time.Second/time.Duration(n), w.Offer)
		})
	}
}

// BenchmarkWindowsNewNames offers names that never come again, with a series dropped for each.
func BenchmarkWindowsNewNames(b *testing.B) {
	for name, node := range map[string]func(i int) string{
		"one node":        func(int) string { return "N" },
		"a node for each": strconv.Itoa,
	} {
		b.Run(name, func(b *testing.B) {
			w := NewWindows(WindowOptions{})
			b.ReportAllocs()
			cpu := cpuTime()
			for i := range b.N {
				w.Offer("C", node(i), []xdr.Param{xdr.Int(strconv.Itoa(i), i)}, start, 0)
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkOverview reads 10 000 nodes with ten series each.
func BenchmarkOverview(b *testing.B) {
	w := NewWindows(WindowOptions{MaxBytes: 1 << 30})
	params := make([]xdr.Param, 10)
	for i := range params {
		params[i] = xdr.Int(fmt.Sprintf("parameter_%d", i), i)
	}
	for i := range 240 {
		for j := range 10_000 {
			w.Offer("Some_Cluster", fmt.Sprintf("node%d.example.org", j), params, start.Add(time.Duration(i)*15*time.Second), 0)
		}
	}
	now := start.Add(time.Hour)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			cpu := cpuTime()
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
	run("EachSeries", func() { w.EachSeries(now, func(*SeriesInfo) {}) })
	run("Nodes", func() { w.Nodes(now, "") })
}
