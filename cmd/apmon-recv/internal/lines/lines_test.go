package lines

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

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

func TestFlat(t *testing.T) {
	t.Parallel()
	var f Flat
	at := time.Unix(1763735000, 0)
	head := `{"from":"h","version":"2.2.20_go","instance":17,"seq":1,"cluster":"C","node":"N","time":5,"params":`
	d := xdr.Datagram{Version: "2.2.20_go", Instance: 17, Seq: 1, Cluster: "C", Node: "N", Time: 5, Timed: true}
	cut := fmt.Errorf("parameter 2: %w", xdr.ErrTruncated)
	for _, c := range []struct {
		name   string
		params []xdr.Param
		err    error
		want   string
	}{
		{"none", nil, nil, head + `{},"received":1763735000.000000}`},
		{"values", []xdr.Param{xdr.Int("i", -1), xdr.Float("f", 0.1), xdr.Float("n", math.NaN()), xdr.String(`a"`, "007\x1b")}, nil, head + `{"i":-1,"f":0.1,"n":"NaN","a\"":"007\u001b"},"received":1763735000.000000}`},
		{"the last of a name", []xdr.Param{xdr.Int("x", 1), xdr.Int("y", 2), xdr.String("x", "3"), xdr.Int("x", 4)}, nil, head + `{"y":2,"x":4},"received":1763735000.000000}`},
		{"truncated", []xdr.Param{xdr.Int("x", 1)}, cut, head + `{"x":1},"error":"` + cut.Error() + `","offset":null,"truncated":true,"received":1763735000.000000}`},
		{"refused", []xdr.Param{xdr.Int("x", 1)}, errors.New("bad"), `{"from":"h","error":"bad","offset":null,"version":"2.2.20_go","instance":17,"seq":1,"cluster":"C","node":"N","received":1763735000.000000}`},
	} {
		d.Params = c.params
		got := string(f.Append(nil, at, "h", &d, c.err))
		if got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if got := string(f.Append([]byte("before "), time.Time{}, "", nil, errors.New("bad"))); got != `before {"from":null,"error":"bad","offset":null}` {
		t.Errorf("nothing could be read: %s", got)
	}
}

// TestCSV reads the lines with another parser.
func TestCSV(t *testing.T) {
	t.Parallel()
	at := time.Unix(1763735000, 123456789)
	d := xdr.Datagram{Cluster: "C", Node: `=cmd|' /C calc'!A0`, Time: 1_700_000_000, Timed: true, Params: []xdr.Param{
		xdr.Int("x", -5), xdr.Float("f", 0.1), xdr.Float("inf", math.Inf(-1)), xdr.String("-s", "a,\"b\"\nc"), xdr.String("@t", "+1"), xdr.String("tab", "\t1"), xdr.String("empty", ""),
	}}
	b := AppendCSV([]byte(CSVHeader), at, "192.0.2.1:4242", &d, nil)
	b = AppendCSV(b, at, "h", &xdr.Datagram{Cluster: "C", Node: "N"}, nil)
	b = AppendCSV(b, time.Time{}, "", &xdr.Datagram{Cluster: "C", Node: "N", Params: d.Params[:1]}, xdr.ErrTruncated)
	b = AppendCSV(b, at, "h", &xdr.Datagram{Cluster: "C", Params: d.Params}, errors.New("node: impossible, \"length\""))
	b = AppendCSV(b, at, "h", nil, errors.New("bad"))
	rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll() // all of one length
	if err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	const received, node = "2025-11-21T14:23:20.123456Z", `'=cmd|' /C calc'!A0`
	head := []string{received, "2023-11-14T22:13:20Z", "192.0.2.1:4242", "C", node}
	want := [][]string{
		strings.Split(strings.TrimSuffix(CSVHeader, "\n"), ","),
		append(head[:5:5], "x", "int32", "-5", ""),
		append(head[:5:5], "f", "real64", "0.1", ""),
		append(head[:5:5], "inf", "real64", "-Inf", ""),
		append(head[:5:5], "'-s", "string", "a,\"b\"\nc", ""),
		append(head[:5:5], "'@t", "string", "'+1", ""),
		append(head[:5:5], "tab", "string", "'\t1", ""),
		append(head[:5:5], "empty", "string", "", ""),
		{received, "", "h", "C", "N", "", "", "", ""},
		{"", "", "", "C", "N", "x", "int32", "-5", ""},
		{"", "", "", "C", "N", "", "", "", xdr.ErrTruncated.Error()},
		{received, "", "h", "C", "", "", "", "", "node: impossible, \"length\""},
		{received, "", "h", "", "", "", "", "", "bad"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}
