package filter

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/glob"
	"github.com/apmon-go/apmon/xdr"
)

func packet(t *testing.T, d *xdr.Datagram) *receiver.Packet {
	t.Helper()
	p := &receiver.Packet{Raw: d.Append(nil)}
	if p.Decode(new(xdr.Datagram), nil); p.Err != nil {
		t.Fatal(p.Err)
	}
	return p
}

func TestApply(t *testing.T) {
	t.Parallel()
	d := xdr.Datagram{Version: "2.2.20", Password: "pw", Instance: 7, Seq: 9, Cluster: "C/x", Node: "n1", Timed: true, Time: 17,
		Params: []xdr.Param{xdr.Int("a", 1), xdr.String("b", "t"), xdr.Float("a", 2)}}
	for _, c := range []struct {
		name    string
		options Options
		want    []string // names; nil if nothing is left
	}{
		{"none", Options{}, []string{"a", "b", "a"}},
		{"cluster", Options{Cluster: glob.List{"C*"}}, []string{"a", "b", "a"}},
		{"other cluster", Options{Cluster: glob.List{"D*"}}, nil},
		{"excluded node", Options{Node: glob.List{"!n?"}}, nil},
		{"param", Options{Param: glob.List{"a"}}, []string{"a", "a"}},
		{"excluded param", Options{Param: glob.List{"!a"}}, []string{"b"}},
		{"no param", Options{Param: glob.List{"z"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := New(c.options)
			p := packet(t, &d)
			raw := p.Raw
			if got := f.Apply(p); got != (c.want != nil) {
				t.Fatalf("passes: %v", got)
			}
			if c.want == nil {
				if n, _ := f.Filtered(); n != 1 {
					t.Errorf("%d datagrams filtered", n)
				}
				return
			}
			var names []string
			back, err := xdr.Parse(p.Raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range back.Params {
				names = append(names, p.Name)
			}
			if !cmp.Equal(names, c.want) {
				t.Errorf("left: %q", names)
			}
			if len(c.want) == 3 && &raw[0] != &p.Raw[0] {
				t.Error("encoded again without need")
			}
			if _, n := f.Filtered(); int(n) != 3-len(c.want) {
				t.Errorf("%d parameters filtered", n)
			}
			want := d
			want.Params, back.Params = nil, nil
			if diff := cmp.Diff(&want, back); diff != "" {
				t.Errorf("the rest changed:\n%s", diff)
			}
		})
	}
}

// A refused datagram is not hidden by accident, nor let through against a filter.
func TestApplyRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options Options
		refused *xdr.Datagram
		want    bool
	}{
		{Options{}, nil, true},
		{Options{Cluster: glob.List{"C"}}, nil, false},
		{Options{Cluster: glob.List{"C"}}, &xdr.Datagram{Cluster: "C"}, true},
		{Options{Cluster: glob.List{"C"}}, &xdr.Datagram{Cluster: "D"}, false},
		{Options{Node: glob.List{"!n"}}, &xdr.Datagram{Cluster: "C", Node: "n"}, false},
	} {
		p := &receiver.Packet{Err: xdr.ErrLength, Refused: c.refused}
		if got := New(c.options).Apply(p); got != c.want {
			t.Errorf("%+v with %+v: %v", c.options, c.refused, got)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := (Options{Node: glob.List{"!"}}).Check(); err == nil {
		t.Error("an empty pattern is accepted")
	}
}
