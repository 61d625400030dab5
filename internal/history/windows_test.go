package history

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
