package lines

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestText(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_600_000_000, 0)
	for _, c := range []struct {
		name string
		at   time.Time
		from string
		d    xdr.Datagram
		want string
	}{
		{"its own time", at, "[::1]:1", xdr.Datagram{Cluster: "C", Node: "N", Time: 1_700_000_000, Timed: true}, "2023-11-14T22:13:20Z [::1]:1 C/N"},
		{"time of arrival", at, "h", xdr.Datagram{Cluster: "C", Node: "N"}, "2020-09-13T12:26:40Z h C/N"},
		{"a time that means now", at, "h", xdr.Datagram{Cluster: "C", Node: "N", Timed: true}, "2020-09-13T12:26:40Z h C/N"},
		{"nothing known", time.Time{}, "", xdr.Datagram{}, `- - ""/""`},
		{"names as they occur", at, "h", xdr.Datagram{Cluster: "A_Jobs", Node: "a/b?c", Params: []xdr.Param{xdr.Int("disk_/var", -5), xdr.Int("αβγ", 1)}}, "2020-09-13T12:26:40Z h A_Jobs/a/b?c disk_/var=-5 αβγ=1"},
		{"odd names", at, "h", xdr.Datagram{Cluster: "a/b", Node: "x y", Params: []xdr.Param{xdr.Int("a=b", 1), xdr.Int(`q"`, 2), xdr.Int("", 3), xdr.Int("\u202e", 4), xdr.Int("\xff", 5), xdr.Int("\u009b", 6)}},
			`2020-09-13T12:26:40Z h "a/b"/"x y" "a=b"=1 "q\""=2 ""=3 "\u202e"=4 "\xff"=5 "\u009b"=6`},
		{"values", at, "h", xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.String("s", "007"), xdr.String("n", "a\nb\u2028"), xdr.Float("f", 0.1), xdr.Real32("r", 0.5), xdr.Int64("l", 1<<60), xdr.Float("e", 1e300), xdr.Float("z", 0)}},
			`2020-09-13T12:26:40Z h C/N s="007" n="a\nb\u2028" f=0.1 r=0.5 l=1152921504606846976 e=1e+300 z=0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(AppendText(nil, c.at, c.from, &c.d, nil)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
	refused := xdr.Datagram{Version: "2.2_\x1b", Instance: 17, Seq: 3, Cluster: "C\x1b", Node: "N"}
	if got := string(AppendText(nil, at, "h", &refused, errors.New("no time"))); got != `2020-09-13T12:26:40Z h refused: no time from "C\x1b"/N version="2.2_\x1b" instance=17 seq=3` {
		t.Errorf("refused, with what could be read: %s", got)
	}
	if got := string(AppendText(nil, at, "h", nil, errors.New("it says \x1b[2J"))); got != `2020-09-13T12:26:40Z h refused: "it says \x1b[2J"` {
		t.Errorf("refused: %s", got)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	d := xdr.Datagram{Cluster: "C", Node: "N"}
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, ``},
		{time.Unix(1763735000, 123456789), `,"received":1763735000.123456`},
		{time.Unix(5, 7000), `,"received":5.000007`},
		{time.Unix(5, 999_999_999), `,"received":5.999999`},
	} {
		plain := string(d.AppendJSON(nil, "h"))
		want := plain[:len(plain)-1] + c.want + "}"
		if got := string(AppendJSON(nil, c.at, "h", &d, nil)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	got := string(AppendJSON(nil, time.Unix(5, 0), "h", nil, errors.New("bad")))
	if want := `{"from":"h","error":"bad","offset":null,"received":5.000000}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestSender(t *testing.T) {
	t.Parallel()
	var s Sender
	a, b := netip.MustParseAddrPort("192.0.2.1:8884"), netip.MustParseAddrPort("[2001:db8::1]:1")
	for _, from := range []netip.AddrPort{{}, a, a, b, a, {}} {
		want := ""
		if from.IsValid() {
			want = from.String()
		}
		if got := s.Text(from); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A line costs no allocation.
func TestLineAllocatesNothing(t *testing.T) {
	d := xdr.Datagram{Version: "2.2.20_go", Instance: 17, Seq: 1, Cluster: "C", Node: "N", Params: []xdr.Param{
		xdr.Float("x", 1), xdr.Float("y", 0.5), xdr.Int("i", 1), xdr.String("s", "RUNNING")}}
	var (
		s    Sender
		from = [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8884"), netip.MustParseAddrPort("192.0.2.2:8884")}
		b    = make([]byte, 0, 1<<10)
		n    int
	)
	if got := testing.AllocsPerRun(100, func() {
		n++
		b = AppendJSON(b[:0], time.Unix(1763735000, 0), s.Text(from[n%2]), &d, nil)
	}); got != 0 && !testkit.Race {
		t.Errorf("%v allocations", got)
	}
}
