package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/xdr"
)

// audit compares the counts with what is there.
func audit(t *testing.T, w *Windows) {
	t.Helper()
	var want WindowStats
	listed := map[*link]bool{}
	for l := w.ages.oldest; l != nil; l = l.younger {
		listed[l] = true
	}
	for i := range w.shards {
		sh := &w.shards[i]
		for _, n := range sh.list {
			want.Nodes++
			want.Bytes += nodeCost + int64(n.cost)
			gone := int32(0)
			for _, e := range n.series {
				if e.mark == nil {
					gone++
					want.Bytes += goneCost
					continue
				}
				if sh.series[seriesKey{n, e.Name}] != e || sh.nodes[nodeKey{n.Cluster, n.Name}] != n {
					t.Errorf("%s/%s %s is not in the maps", n.Cluster, n.Name, e.Name)
				}
				win := e.mark.(*window)
				want.Series++
				want.Bytes += e.cost
				if !listed[&win.link] {
					t.Error("a series without an age")
				}
				delete(listed, &win.link)
				values, texts, textBytes := 0, 0, 0
				for r := win.head; r != nil; r = r.next {
					values += r.values()
					want.Bytes += runCost + int64(cap(r.points))*pointCost
					if r.isText() {
						texts, textBytes = texts+1, textBytes+len(r.text)
						want.Bytes += textCost(r.text)
					}
					if listed[&r.link] != (r != win.tail) {
						t.Error("a run without an age, or the last one with one")
					}
					delete(listed, &r.link)
				}
				if values != int(win.values) || texts != int(win.texts) || textBytes != int(win.textBytes) {
					t.Errorf("%d values, %d texts of %d bytes, counted as %d, %d, %d", values, texts, textBytes, win.values, win.texts, win.textBytes)
				}
				if texts > maxTexts || textBytes > maxTextBytes && texts > 1 {
					t.Errorf("%d texts of %d bytes", texts, textBytes)
				}
				want.Points += values
			}
			if gone != n.gone {
				t.Errorf("%d series are gone, counted as %d", gone, n.gone)
			}
		}
	}
	if len(listed) > 0 {
		t.Errorf("%d ages of nothing", len(listed))
	}
	got := w.Stats()
	want.MaxBytes, want.Span, want.DroppedPoints, want.DroppedSeries = got.MaxBytes, got.Span, got.DroppedPoints, got.DroppedSeries
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// someValue returns a number of any type, or now and then a text.
func someValue(rnd *rand.Rand, name string) xdr.Param {
	switch rnd.IntN(12) {
	case 0:
		return xdr.String(name, strings.Repeat("x", rnd.IntN(3)))
	case 1:
		return xdr.Int64(name, rnd.Int64())
	case 2:
		return xdr.Real32(name, rnd.Float32())
	case 3, 4:
		return xdr.Float(name, rnd.NormFloat64())
	}
	return xdr.Int(name, rnd.Int32())
}

// Against plain lists: each series has all values of the window, exactly and in order.
func TestWindowsAgainstLists(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	w := NewWindows(WindowOptions{MaxBytes: 1 << 30})
	type value struct {
		at   time.Time
		text string
	}
	model := map[string][]value{} // by node and name
	order := map[string][]string{}
	now := start
	for step := range 6000 {
		now = now.Add(400*time.Millisecond + time.Duration(rnd.IntN(3000))*time.Millisecond)
		node := fmt.Sprint("N", rnd.IntN(3))
		var params []xdr.Param
		for _, i := range rnd.Perm(6)[:rnd.IntN(6)] {
			p := someValue(rnd, fmt.Sprint("p", i))
			params = append(params, p)
			key := node + p.Name
			if model[key] == nil {
				order[node] = append(order[node], p.Name)
			}
			if l := model[key]; p.Type() != xdr.TypeString || len(l) == 0 || l[len(l)-1].text != show(p) {
				model[key] = append(l, value{now, show(p)})
			}
		}
		w.Offer("C", node, params, now, 0)
		if step%500 != 0 {
			continue
		}
		audit(t, w)
		for node, names := range order {
			var got []string
			for _, info := range w.Series(now, "C", node) {
				got = append(got, info.Last.Name)
				all := model[node+info.Last.Name]
				in := 0
				for _, v := range all {
					if !v.at.Before(now.Add(-DefaultSpan)) {
						in++
					}
				}
				if show(info.Last) != all[len(all)-1].text || info.Points != in {
					t.Errorf("%s %s: %s and %d values, want %s and %d", node, info.Last.Name, show(info.Last), info.Points, all[len(all)-1].text, in)
				}
			}
			if diff := cmp.Diff(names, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, name := range names {
				from := now.Add(-time.Duration(rnd.Int64N(int64(DefaultSpan))))
				until := from.Add(time.Duration(rnd.Int64N(int64(DefaultSpan))))
				var want, got []value
				for _, v := range model[node+name] {
					if !v.at.Before(from.Truncate(time.Millisecond)) && !v.at.After(until) {
						want = append(want, v)
					}
				}
				points, ok := w.Points(nil, "C", node, name, from, until)
				for _, p := range points {
					got = append(got, value{p.Time, show(p.Value)})
				}
				if !ok || !slices.EqualFunc(want, got, func(a, b value) bool { return a.at.Equal(b.at) && a.text == b.text }) {
					t.Errorf("%s %s: %v, want %v", node, name, got, want)
				}
			}
		}
	}
	if st := w.Stats(); st.DroppedPoints+st.DroppedSeries > 0 {
		t.Errorf("%+v", st)
	}
	// All ends, with its memory.
	if n := w.Nodes(now.Add(2*DefaultSpan), ""); len(n) != 0 {
		t.Errorf("%v", n)
	}
	audit(t, w)
	if st := w.Stats(); st.Bytes != 0 || st.DroppedPoints+st.DroppedSeries != 0 {
		t.Errorf("%+v", st)
	}
}

// Goroutines write, read and forget, with little memory, and a clock that jumps.
func TestWindowsConcurrentUse(t *testing.T) {
	t.Parallel()
	w := NewWindows(WindowOptions{MaxBytes: 100_000, Span: time.Minute})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(g)))
			for i := range 2000 {
				now := start.Add(time.Duration(i) * 100 * time.Millisecond)
				if i > 1000 && i%100 < 10 {
					now = now.Add(time.Duration(rnd.IntN(200)-100) * time.Hour)
				}
				params := []xdr.Param{someValue(rnd, "a"), someValue(rnd, fmt.Sprint(rnd.IntN(100))), someValue(rnd, "b")}
				w.Offer("C", fmt.Sprint(rnd.IntN(30)), params, now, 0)
				switch i % 500 {
				case 0:
					w.EachSeries(now, func(*SeriesInfo) {})
				case 100:
					w.Nodes(now, "C")
				case 200:
					w.Forget(func(_, node string) bool { return node == fmt.Sprint(g) })
				case 300:
					w.Points(nil, "C", "1", "a", start, now)
				case 400:
					w.Configure(WindowOptions{MaxBytes: int64(50_000 + rnd.IntN(50_000)), Span: time.Minute})
				}
			}
		})
	}
	wg.Wait()
	audit(t, w)
	if st := w.Stats(); st.Bytes > st.MaxBytes || st.DroppedPoints == 0 || st.DroppedSeries == 0 {
		t.Errorf("%+v", st)
	}
	w.Forget(func(_, _ string) bool { return true })
	audit(t, w)
	if st := w.Stats(); st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}

func FuzzWindows(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\xf0\x01\x02\x00\x07\x01\x80\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := NewWindows(WindowOptions{MaxBytes: 5000, Span: time.Hour})
		now := start
		for ; len(b) >= 4; b = b[4:] {
			var p xdr.Param
			switch name := fmt.Sprint(b[1] % 8); b[2] % 4 {
			case 0:
				p = xdr.String(name, strings.Repeat("x", int(b[3])*100))
			case 1:
				p = xdr.Real32(name, float32(b[3]))
			default:
				p = xdr.Int(name, int(b[3]))
			}
			if b[0]&0xf0 == 0xf0 { // the clock is set
				now = now.Add(time.Duration(int8(b[3])) * 10 * time.Minute)
			}
			now = now.Add(time.Duration(b[2]/4) * time.Second)
			node := fmt.Sprint(b[0] % 16)
			w.Offer("C", node, []xdr.Param{p}, now, 0)
			if st := w.Stats(); st.Bytes > 5000 {
				t.Fatalf("%+v", st)
			}
			if s := w.Series(now, "C", node); len(s) > 0 {
				if i := slices.IndexFunc(s, func(s SeriesInfo) bool { return s.Last.Name == p.Name }); i >= 0 && show(s[i].Last) != show(p) {
					t.Fatalf("the last value is %s, want %s", show(s[i].Last), show(p))
				}
			}
		}
		w.EachSeries(now, func(*SeriesInfo) {})
		audit(t, w)
	})
}
