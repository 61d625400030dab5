package xdr

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		d    Datagram
		from string
		want string
	}{
		{
			"everything",
			Datagram{
				Version: "2.2.20_go", Password: "secret", Instance: 17, Seq: 1, Cluster: "C", Node: "N",
				Params: []Param{Int("x", 1), Int64("l", -1<<62), Float("d", 0.1), Real32("f", 0.1), String("s", "RUNNING")},
				Time:   1700000000, Timed: true,
			},
			"127.0.0.1:4242",
			`{"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,"cluster":"C","node":"N","time":1700000000,"params":[` +
				`{"name":"x","type":"int32","value":1},` +
				`{"name":"l","type":"int64","value":-4611686018427387904},` +
				`{"name":"d","type":"real64","value":0.1},` +
				`{"name":"f","type":"real32","value":0.10000000149011612},` +
				`{"name":"s","type":"string","value":"RUNNING"}]}`,
		},
		{
			"nothing known",
			Datagram{},
			"",
			`{"from":null,"version":"","instance":null,"seq":null,"cluster":"","node":"","time":null,"params":[]}`,
		},
		{
			"before 2.2 nothing identifies the sender",
			Datagram{Version: "2.0.6", Cluster: "C", Node: "N"},
			"",
			`{"from":null,"version":"2.0.6","instance":null,"seq":null,"cluster":"C","node":"N","time":null,"params":[]}`,
		},
		{
			"zero and negative are not null",
			Datagram{Version: "2.2", Instance: 0, Seq: -1, Time: 0, Timed: true},
			"",
			`{"from":null,"version":"2.2","instance":0,"seq":-1,"cluster":"","node":"","time":0,"params":[]}`,
		},
		{
			"numbers JSON has not",
			Datagram{Params: []Param{
				Float("a", math.NaN()), Float("b", math.Inf(1)), Float("c", math.Inf(-1)),
				Real32("d", float32(math.NaN())), Real32("e", float32(math.Inf(-1))),
			}},
			"",
			`{"from":null,"version":"","instance":null,"seq":null,"cluster":"","node":"","time":null,"params":[` +
				`{"name":"a","type":"real64","value":"NaN"},{"name":"b","type":"real64","value":"+Inf"},{"name":"c","type":"real64","value":"-Inf"},` +
				`{"name":"d","type":"real32","value":"NaN"},{"name":"e","type":"real32","value":"-Inf"}]}`,
		},
		{
			"a stranger's text",
			Datagram{Cluster: "\x1b[2J", Node: "a\"b\\c", Params: []Param{String("\xff", "l1\nl2\r\t\x7f")}},
			"",
			`{"from":null,"version":"","instance":null,"seq":null,"cluster":"\u001b[2J","node":"a\"b\\c","time":null,"params":[` +
				`{"name":"` + "\uFFFD" + `","type":"string","value":"l1\nl2\r\t\u007f"}]}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := string(test.d.AppendJSON([]byte("> "), test.from)); got != "> "+test.want {
				t.Errorf("\n%s, want\n> %s", got, test.want)
			}
		})
	}
}

func TestAppendJSONError(t *testing.T) {
	t.Parallel()
	var d, noCluster, truncated Datagram
	refused := d.Decode(wire("v:2.2p:secret", 17, 3, "C\x1b", "N", -1))
	cut := noCluster.Decode(wire("v:1.0p:secret"))
	short := truncated.Decode(wire("v:2.2p:secret", 17, 3, "C", "N", 3, "x", 2, 1))
	tests := []struct {
		name string
		from string
		d    *Datagram
		err  error
		want string
	}{
		{"refused", "[::1]:4242", &d, refused,
			`{"from":"[::1]:4242","error":"parameter count: impossible number of parameters: -1 in the 0 bytes left (offset 44)","offset":44,"version":"2.2","instance":17,"seq":3,"cluster":"C\u001b","node":"N"}`},
		{"refused, with more around it", "", nil, fmt.Errorf("line 3: %w", refused),
			`{"from":null,"error":"line 3: parameter count: impossible number of parameters: -1 in the 0 bytes left (offset 44)","offset":44}`},
		{"no more than the header", "", &noCluster, cut,
			`{"from":null,"error":"cluster: the datagram ends too early (offset 20)","offset":20,"version":"1.0"}`},
		{"truncated", "", &truncated, short,
			`{"from":null,"version":"2.2","instance":17,"seq":3,"cluster":"C","node":"N","time":null,"params":[{"name":"x","type":"int32","value":1}],"error":"parameter 2: the datagram ends after a complete parameter: it holds 1, and declares 3 (offset 64)","offset":64,"truncated":true}`},
		{"another error", "", new(Datagram), errors.New("not \"hex\"\n"),
			`{"from":null,"error":"not \"hex\"\n","offset":null}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := string(AppendJSONError(nil, test.from, test.d, test.err)); got != test.want {
				t.Errorf("\n%s, want\n%s", got, test.want)
			}
		})
	}
}

// checkJSON asserts that b is printed as one line of JSON with the content of the
// datagram and without the password.
func checkJSON(t *testing.T, b []byte) {
	t.Helper()
	var line []byte
	d := new(Datagram)
	err := d.Decode(b)
	if err != nil {
		line = AppendJSONError(nil, "", d, err)
	} else {
		line = d.AppendJSON(nil, "")
	}
	if !json.Valid(line) || !utf8.Valid(line) || strings.ContainsAny(string(line), "\n\r\x1b\x7f") {
		t.Fatalf("not one line of JSON: %q", line)
	}
	if err != nil && !errors.Is(err, ErrTruncated) {
		return
	}
	var form struct {
		Version       string
		Instance, Seq *int32
		Cluster, Node string
		Time          *int32
		Params        []struct {
			Name, Type string
			Value      any
		}
	}
	if err := json.Unmarshal(line, &form); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if form.Version != asUTF8(d.Version) || form.Cluster != asUTF8(d.Cluster) || form.Node != asUTF8(d.Node) ||
		(form.Instance != nil) != d.Sequenced() || (form.Seq != nil) != d.Sequenced() || (form.Time != nil) != d.Timed ||
		d.Sequenced() && (*form.Instance != d.Instance || *form.Seq != d.Seq) ||
		d.Timed && *form.Time != d.Time || len(form.Params) != len(d.Params) {
		t.Fatalf("%+v is not %s", d, line)
	}
	for i, p := range form.Params {
		q := &d.Params[i]
		var want any = q.Float()
		switch v := q.Float(); {
		case q.Type() == TypeString:
			want = asUTF8(q.Text())
		case v != v:
			want = "NaN"
		case v > math.MaxFloat64:
			want = "+Inf"
		case v < -math.MaxFloat64:
			want = "-Inf"
		}
		if p.Name != asUTF8(q.Name) || p.Type != q.Type().String() || p.Value != want {
			t.Fatalf("parameter %d: %+v is not %+v", i, q, p)
		}
	}
}

// asUTF8 returns a string as it reads back from JSON.
func asUTF8(s string) string { return string([]rune(s)) }

func TestJSONOfVectors(t *testing.T) {
	t.Parallel()
	for _, v := range clientVectors(t) {
		checkJSON(t, unhex(t, v.Hex))
	}
	for _, v := range hostileVectors(t) {
		checkJSON(t, unhex(t, v.Hex))
	}
}
