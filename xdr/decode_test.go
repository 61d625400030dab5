package xdr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wire joins the pieces of a datagram: strings as XDR strings, raw as they
// are, ints as four bytes.
func wire(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = appendString(b, p)
		case raw:
			b = append(b, p...)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

type raw string

func TestDecodeHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		header            string
		version, password string
		sequenced         bool
		err               error
	}{
		{header: "v:2.2p:", version: "2.2", sequenced: true},
		{header: "v:2.2.8_gop:", version: "2.2.8_go", sequenced: true},
		{header: "v:2.2.20_gop:", version: "2.2.20_go", sequenced: true},
		{header: "v:2.17.02-pyp:", version: "2.17.02-py", sequenced: true},
		{header: "v:2.2.8.1p:", version: "2.2.8.1", sequenced: true},
		{header: "v:2.3p:", version: "2.3", sequenced: true},
		{header: "v:2.10p:", version: "2.10", sequenced: true},
		{header: "v:3p:", version: "3", sequenced: true},
		{header: "v:3.0p:", version: "3.0", sequenced: true},
		{header: "v:10.0p:", version: "10.0", sequenced: true},
		{header: "v:127.9p:", version: "127.9", sequenced: true},
		{header: "v:258.2.0p:", version: "258.2.0", sequenced: true}, // 258 = 2 in a signed byte
		{header: "v:+2.2p:", version: "+2.2", sequenced: true},
		{header: "v:2.2.8 p:", version: "2.2.8 ", sequenced: true},
		{header: "v:2p:", version: "2"},
		{header: "v:2.0p:", version: "2.0"},
		{header: "v:2.1.9p:", version: "2.1.9"},
		{header: "v:1.9.9p:", version: "1.9.9"},
		{header: "v:0p:", version: "0"},
		{header: "v:128.2p:", version: "128.2"}, // 128 = -128 in a signed byte
		{header: "v:2.200p:", version: "2.200"},
		{header: "v:2_2p:", version: "2_2"},
		{header: "v:2. 2p:", version: "2. 2"},
		{header: "v:2_gop:", version: "2_go"},

		{header: "v:2.2p:secret", version: "2.2", password: "secret", sequenced: true},
		{header: "v:2.2p:pass word", version: "2.2", password: "pass word", sequenced: true},
		{header: "v:2.2p:p:p:", version: "2.2", password: "p:p:", sequenced: true},
		{header: "v:2.2_pp:x", version: "2.2_p", password: "x", sequenced: true},
		{header: " \x00v:2.2p:secret\t\x00 ", version: "2.2", password: "secret", sequenced: true},

		{header: "v:p:", err: ErrVersion},
		{header: "v:abcp:", err: ErrVersion},
		{header: "v:-1p:", err: ErrVersion},
		{header: "v:2.xp:", err: ErrVersion},
		{header: "v:2..2p:", err: ErrVersion},
		{header: "v:2,2p:", err: ErrVersion},
		{header: "v:2.2xp:", err: ErrVersion},
		{header: "v:x2.2p:", err: ErrVersion},
		{header: "v:+p:", err: ErrVersion},
		{header: "v: 2.2p:", err: ErrVersion},
		{header: "v:2.2 20p:", err: ErrVersion},
		{header: "v:2.2.20 _gop:", err: ErrVersion},
		{header: "v:2 2p:", err: ErrVersion},
		{header: "v:99999999999.2p:", err: ErrVersion},
		{header: "v:2147483648.2p:", err: ErrVersion},
		{header: "v:" + strings.Repeat("9", 1000) + "p:", err: ErrVersion},
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			t.Parallel()
			want := &Datagram{
				Version: test.version, Password: test.password,
				Cluster: "C", Node: "N", Params: []Param{Int("x", 1)},
			}
			b := wire(test.header)
			if test.sequenced {
				want.Instance, want.Seq = 17, -3
				b = append(b, wire(17, -3)...)
			}
			b = append(b, wire("C", "N", 1, "x", 2, 1)...)
			d, err := Parse(b)
			if test.err != nil {
				var e *DecodeError
				if !errors.Is(err, test.err) || !errors.As(err, &e) || e.Field != "header" || e.Offset != 0 {
					t.Errorf("error %v, want %v", err, test.err)
				}
				if len(err.Error()) > 200 {
					t.Errorf("error of %d bytes", len(err.Error()))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, d, compareParams); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d.Sequenced() != test.sequenced {
				t.Errorf("Sequenced() = %v", d.Sequenced())
			}
		})
	}
}

func TestDecodeWithoutHeader(t *testing.T) {
	t.Parallel()
	for _, cluster := range []string{"Cluster", "", "v", "v:", "v:2.2", "p:", "p:pw v:2.2", "xv:2.2p:", "2.2p:", " spaced "} {
		t.Run(cluster, func(t *testing.T) {
			t.Parallel()
			d, err := Parse(wire(cluster, "N", 1, "x", 2, 1, 1700000000))
			if err != nil {
				t.Fatal(err)
			}
			want := &Datagram{Cluster: cluster, Node: "N", Params: []Param{Int("x", 1)}, Time: 1700000000, Timed: true}
			if diff := cmp.Diff(want, d, compareParams); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d.Sequenced() {
				t.Error("Sequenced() without a header")
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		in     []byte
		params []Param
		time   int32
		timed  bool
	}{
		{"no parameters", wire("C", "N", 0), nil, 0, false},
		{"no parameters, a time", wire("C", "N", 0, 7), nil, 7, true},
		{"every type", wire("C", "N", 5,
			"s", 0, "text", "i", 2, -1, "l", 3, -1, -2, "f", 4, 0x3fc00000, "d", 5, 0x400a0000, 0), []Param{
			String("s", "text"), Int("i", -1), Int64("l", -2), Real32("f", 1.5), Float("d", 3.25)}, 0, false},
		{"int32 limits", wire("C", "N", 2, "x", 2, 0x7fffffff, "y", 2, math.MinInt32), []Param{
			Int("x", math.MaxInt32), Int("y", math.MinInt32)}, 0, false},
		{"reals keep their bits", wire("C", "N", 2, "x", 4, raw("\xff\x80\x00\x01"), "y", 5, 0x7ff00000, 1), []Param{
			{Name: "x", typ: TypeReal32, bits: 0xff800001}, {Name: "y", typ: TypeReal64, bits: 0x7ff0000000000001}}, 0, false},
		{"negative time", wire("C", "N", 1, "x", 2, 1, -1), []Param{Int("x", 1)}, -1, true},
		{"time zero is a time", wire("C", "N", 1, "x", 2, 1, 0), []Param{Int("x", 1)}, 0, true},
		{"empty name and text", wire("C", "N", 1, "", 0, ""), []Param{String("", "")}, 0, false},
		{"padding of any content", wire("C", "N", 1, 1, raw("xABC"), 0, 2, raw("hi\xff\xff")), []Param{String("x", "hi")}, 0, false},
		{"last padding missing", wire("C", "N", 1, "x", 0, 5, raw("hello")), []Param{String("x", "hello")}, 0, false},
		{"last padding short", wire("C", "N", 1, "x", 0, 5, raw("hello\x00\x00")), []Param{String("x", "hello")}, 0, false},
		{"text that is not UTF-8", wire("C", "N", 1, "x", 0, "\xff\xfe\x00"), []Param{String("x", "\xff\xfe\x00")}, 0, false},
		{"longest string", wire("C", "N", 1, "x", 0, strings.Repeat("y", MaxString)), []Param{String("x", strings.Repeat("y", MaxString))}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, err := Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			want := &Datagram{Cluster: "C", Node: "N", Params: test.params, Time: test.time, Timed: test.timed}
			if diff := cmp.Diff(want, d, compareParams); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		in     []byte
		err    error
		field  string
		offset int
		text   string
	}{
		{"nothing", nil, ErrShort, "header", 0, "header: the datagram ends too early (offset 0)"},
		{"part of a length", []byte{0, 0, 0}, ErrShort, "header", 0, ""},
		{"length beyond the end", wire(4, raw("C")), ErrShort, "header", 0,
			"header: the datagram ends too early: a string of 4 bytes, with 1 left (offset 0)"},
		{"length below zero", wire(-1, raw("xxxx")), ErrLength, "header", 0, "header: impossible length: -1 bytes (offset 0)"},
		{"smallest length", wire("C", math.MinInt32), ErrLength, "node", 8, ""},
		{"length over MaxString", wire("C", strings.Repeat("N", MaxString+1), 0), ErrLength, "node", 8, ""},
		{"no instance id", wire("v:2.2p:"), ErrShort, "instance id", 12, ""},
		{"no sequence number", wire("v:2.2p:", 1), ErrShort, "sequence number", 16, ""},
		{"no cluster", wire("v:2.2p:", 1, 2), ErrShort, "cluster", 20, ""},
		{"no node", wire("v:2.2p:", 1, 2, "C"), ErrShort, "node", 28, ""},
		{"no count", wire("C", "N"), ErrShort, "parameter count", 16, ""},
		{"part of a count", wire("C", "N", raw("\x00\x00\x00")), ErrShort, "parameter count", 16, ""},
		{"count below zero", wire("C", "N", -1, "x", 2, 1), ErrCount, "parameter count", 16,
			"parameter count: impossible number of parameters: -1 in the 16 bytes left (offset 16)"},
		{"count that cannot fit", wire("C", "N", 2, "x", 2, 1, 0), ErrCount, "parameter count", 16, ""},
		{"largest count", wire("C", "N", math.MaxInt32, "x", 2, 1, 0), ErrCount, "parameter count", 16, ""},
		{"a count and no parameter", wire("C", "N", 1), ErrCount, "parameter count", 16, ""},
		{"count one too many", wire("C", "N", 2, "x", 5, 1, 1, 0), ErrShort, "parameter 2 type", 44, ""},
		{"count one too few", wire("C", "N", 1, "x", 2, 1, "y", 2, 2), ErrTrailing, "time", 36,
			"time: bytes after the parameters that are not a time: 16 bytes (offset 36)"},
		{"type 1", wire("C", "N", 1, "x", 1, 1), ErrType, "parameter 1 type", 28, "parameter 1 type: unknown type 1 (offset 28)"},
		{"type 6", wire("C", "N", 1, "x", 6, 1), ErrType, "parameter 1 type", 28, ""},
		{"type below zero", wire("C", "N", 1, "x", -1, 1), ErrType, "parameter 1 type", 28, ""},
		{"int32 cut off", wire("C", "N", 1, "xxxx", 2, raw("abc")), ErrShort, "parameter 1 value", 32, ""},
		{"real64 cut off", wire("C", "N", 1, "x", 5, 1, raw("abc")), ErrShort, "parameter 1 value", 32, ""},
		{"name cut off", wire("C", "N", 2, "x", 2, 1, 100, raw("abcdefgh")), ErrShort, "parameter 2 name", 36, ""},
		{"text cut off", wire("C", "N", 2, "x", 2, 1, "y", 0, 9, raw("abc")), ErrShort, "parameter 2 value", 48, ""},
		{"name over MaxString", wire("C", "N", 1, strings.Repeat("x", MaxString+1), 2, 1), ErrLength, "parameter 1 name", 20, ""},
		{"one byte more", wire("C", "N", 0, raw("x")), ErrTrailing, "time", 20, ""},
		{"three bytes more", wire("C", "N", 0, raw("xxx")), ErrTrailing, "time", 20, ""},
		{"five bytes more", wire("C", "N", 0, 1, raw("x")), ErrTrailing, "time", 20, ""},
		{"two times", wire("C", "N", 0, 1, 2), ErrTrailing, "time", 20, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := Datagram{Version: "x", Seq: 1, Params: []Param{Int("old", 1)}, Timed: true}
			err := d.Decode(test.in)
			var e *DecodeError
			if !errors.As(err, &e) {
				t.Fatalf("error %v is not a DecodeError", err)
			}
			if !errors.Is(err, test.err) || e.Field != test.field || e.Offset != test.offset {
				t.Errorf("error %v in %q at %d, want %v in %q at %d", err, e.Field, e.Offset, test.err, test.field, test.offset)
			}
			if test.text != "" && err.Error() != test.text {
				t.Errorf("%q, want %q", err, test.text)
			}
			// Decode sets the header as a whole, cluster and node if they were
			// read, and nothing else.
			want := &Datagram{}
			if e.Offset > 16 && bytes.HasPrefix(test.in, wire("v:2.2p:")) {
				want.Version, want.Instance, want.Seq = "2.2", 1, 2
			}
			switch e.Field {
			case "header", "instance id", "sequence number", "cluster":
			case "node":
				want.Cluster = "C"
			default:
				want.Cluster, want.Node = "C", "N"
			}
			if diff := cmp.Diff(want, &d, compareParams); diff != "" || len(d.Params) > 0 {
				t.Errorf("left of the datagram (-want +got): %s", diff)
			}
		})
	}
}

// The Java client 2.2.9 declares 39 parameters and sends 37. Decode returns them
// with the error.
func TestDecodeJavaSystemReports(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/java_system_reports.hex")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Fields(string(data)) {
		b := unhex(t, line)
		var d Datagram
		err := d.Decode(b)
		var e *DecodeError
		if !errors.As(err, &e) || !errors.Is(err, ErrTruncated) || e.Field != "parameter 38" || e.Offset != len(b) {
			t.Errorf("line %d: error %v", i+1, err)
		}
		if len(d.Params) != 37 || d.Version != "2.2.9_j" || !d.Sequenced() || d.Cluster != "ApMon_userSend" || d.Node != "localhost" || d.Timed {
			t.Errorf("line %d: %+v", i+1, d)
		}
		if p := d.Params[0]; p.Name != "cpu_nice" || p.Text() != "0.0" {
			t.Errorf("line %d: the first parameter is %+v", i+1, p)
		}
		parsed, err := Parse(b)
		if !errors.Is(err, ErrTruncated) || cmp.Diff(&d, parsed, compareParams) != "" {
			t.Errorf("line %d: Parse returned %+v, %v", i+1, parsed, err)
		}
	}
}

// Decode returns a datagram that ends after a complete parameter with the error,
// for any number of parameters it declares, and no datagram that ends elsewhere.
func TestDecodeTooFewParameters(t *testing.T) {
	t.Parallel()
	for _, declared := range []int{3, 4, 39, math.MaxInt32} {
		b := wire("v:2.2p:pw", 1, 2, "C", "N", declared, "x", 2, 1, "text", 0, 5, raw("hello"))
		want := &Datagram{Version: "2.2", Password: "pw", Instance: 1, Seq: 2, Cluster: "C", Node: "N", Params: []Param{Int("x", 1), String("text", "hello")}}
		d, err := Parse(b)
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("%d declared: error %v", declared, err)
		}
		if diff := cmp.Diff(want, d, compareParams); diff != "" {
			t.Errorf("%d declared (-want +got):\n%s", declared, diff)
		}
		if d, err := Parse(append(b, "\x00\x00\x00more"...)); d != nil || err == nil || errors.Is(err, ErrTruncated) {
			t.Errorf("%d declared, and part of another: %+v, %v", declared, d, err)
		}
	}
}

// Decode refuses a datagram that is cut off, unless only padding or the whole
// time is missing.
func TestDecodeTruncated(t *testing.T) {
	t.Parallel()
	whole := wire("v:2.2p:", 17, 1, "C", "N", 2, "x", 2, 1, "y", 0, 5, raw("hello\x00\x00\x00"), 1700000000)
	for n := range whole {
		d, err := Parse(whole[:n])
		ok := len(whole)-7 <= n && n <= len(whole)-4
		if errors.Is(err, ErrTruncated) != (n == 56) || n == 56 && len(d.Params) != 1 {
			t.Errorf("%d of %d bytes: %+v, %v", n, len(whole), d, err)
		}
		if ok != (err == nil) {
			t.Errorf("%d of %d bytes: %+v, %v", n, len(whole), d, err)
		}
		if ok && d.Timed {
			t.Errorf("%d of %d bytes have a time", n, len(whole))
		}
	}
}

func TestDecodeBorrowsAndParseCopies(t *testing.T) {
	t.Parallel()
	b := wire("v:2.2p:pw", 1, 2, "Cluster", "Node", 1, "name", 0, "text")
	var borrowed Datagram
	if err := borrowed.Decode(b); err != nil {
		t.Fatal(err)
	}
	copied, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = '#'
	}
	want := &Datagram{Version: "2.2", Password: "pw", Instance: 1, Seq: 2, Cluster: "Cluster", Node: "Node", Params: []Param{String("name", "text")}}
	if diff := cmp.Diff(want, copied, compareParams); diff != "" {
		t.Errorf("Parse refers to the buffer:\n%s", diff)
	}
	if borrowed.Cluster != "#######" {
		t.Errorf("Decode copied %q", borrowed.Cluster)
	}
}

// Decode leaves nothing of the previous datagram in a Datagram that is reused.
func TestDecodeAgain(t *testing.T) {
	t.Parallel()
	inputs := [][]byte{
		wire("v:2.2p:pw", 1, 2, "C", "N", 2, "s", 0, "text", "i", 2, 7, 1700000000),
		wire("c", "n", 1, "i", 2, 7),
		nil,
		wire("c", "n", 1, "s", 0, ""),
		wire("v:1.0p:", "c", "n", 3, "a", 3, 1, 2, "b", 4, 1, "c", 5, 1, 2, 9),
		wire("v:2.2p:", 1, 2, "C", "N", 0),
	}
	var d Datagram
	for range 2 {
		for i, b := range inputs {
			err := d.Decode(b)
			fresh, freshErr := Parse(b)
			if (err == nil) != (freshErr == nil) {
				t.Fatalf("input %d: %v, %v", i, err, freshErr)
			}
			if freshErr != nil {
				continue // Parse keeps nothing
			}
			if diff := cmp.Diff(fresh, &d, compareParams); diff != "" || len(d.Params) != len(fresh.Params) {
				t.Errorf("input %d (-fresh +used):\n%s", i, diff)
			}
		}
	}
}
