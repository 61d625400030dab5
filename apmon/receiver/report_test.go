package receiver

import (
	"math"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

func TestReport(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{})
	rep := r.NewReport("host.example.org")
	rep.prefix = "ApMon_8884_"
	begin := rep.at
	var instance int32
	for i, c := range []struct {
		after          time.Duration // since the report before
		lost, received uint64
		active         int
		want           []xdr.Param
	}{
		{time.Minute, 30, 600, 3, []xdr.Param{
			xdr.Int("ApMon_8884_lostDatagrams", 30),
			xdr.Float("ApMon_8884_lostDatagrams_R", 0.5),
			xdr.Int("ApMon_8884_receivedDatagrams", 600),
			xdr.Float("ApMon_8884_receivedDatagrams_R", 10),
			xdr.Int("ApMon_8884_activeSenders", 3),
		}},
		// One arrived late; more than fits an int32 was received.
		{2 * time.Minute, 29, 600 + math.MaxInt32, 2, []xdr.Param{
			xdr.Int("ApMon_8884_lostDatagrams", 29),
			xdr.Float("ApMon_8884_lostDatagrams_R", 0),
			xdr.Float("ApMon_8884_receivedDatagrams", 600+math.MaxInt32),
			xdr.Float("ApMon_8884_receivedDatagrams_R", math.MaxInt32/120.0),
			xdr.Int("ApMon_8884_activeSenders", 2),
		}},
		{0, 29, 600 + math.MaxInt32, 2, []xdr.Param{
			xdr.Int("ApMon_8884_lostDatagrams", 29),
			xdr.Float("ApMon_8884_lostDatagrams_R", 0),
			xdr.Float("ApMon_8884_receivedDatagrams", 600+math.MaxInt32),
			xdr.Float("ApMon_8884_receivedDatagrams_R", 0),
			xdr.Int("ApMon_8884_activeSenders", 2),
		}},
	} {
		begin = begin.Add(c.after)
		p := rep.Packet(begin, Stats{Counts: Counts{Lost: c.lost, Received: c.received}, ActiveSenders: c.active})
		d, err := xdr.Parse(p.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			instance = d.Instance
		}
		if d.Cluster != "ApMon_Receiver" || d.Node != "host.example.org" || d.Seq != int32(i+1) || d.Instance != instance || !d.Sequenced() {
			t.Errorf("report %d: %+v", i, d)
		}
		if p.From != r.Addr() || p.Received != begin || p.Datagram == nil || p.Datagram.Node != d.Node {
			t.Errorf("report %d: %+v", i, p)
		}
		compareParams(t, d.Params, c.want)
		for i := range d.Params {
			if err := d.Params[i].Check(); err != nil {
				t.Error(err)
			}
		}
	}
}

func compareParams(t *testing.T, got, want []xdr.Param) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d parameters, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("parameter %d: %s %v %v, want %s %v %v", i, got[i].Name, got[i].Type(), got[i].Float(), want[i].Name, want[i].Type(), want[i].Float())
		}
	}
}

// The report of a receiver is one that another receiver reads.
func TestReportOfTraffic(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{})
	rep := r.NewReport("N")
	c := dial(t, r)
	for _, seq := range []int{1, 2, 5} {
		send(t, c, datagram("", seq))
	}
	send(t, c, []byte("garbage"))
	all(t, r, func(*Packet) {})
	p := rep.Packet(time.Now(), r.Stats())
	got := make(map[string]float64)
	for i := range p.Datagram.Params {
		got[p.Datagram.Params[i].Name[len(rep.prefix):]] = p.Datagram.Params[i].Float()
	}
	if got["lostDatagrams"] != 2 || got["receivedDatagrams"] != 3 || got["activeSenders"] != 1 || got["receivedDatagrams_R"] <= 0 {
		t.Errorf("%v", got)
	}
}
