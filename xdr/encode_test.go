package xdr

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppendPrefix(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, password, want string }{
		{"no password", "", "\x00\x00\x00\x0dv:2.2.20_gop:\x00\x00\x00" + "\x00\x00\x00\x11" + "\xff\xff\xff\xff"},
		{"one of three bytes", "abc", "\x00\x00\x00\x10v:2.2.20_gop:abc" + "\x00\x00\x00\x11" + "\xff\xff\xff\xff"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := string(AppendPrefix([]byte("x"), Version, test.password, 17, -1)); got != "x"+test.want {
				t.Errorf("%q, want %q", got, "x"+test.want)
			}
		})
	}
}

// message encodes params and returns the decoded datagrams and their sizes.
func message(t *testing.T, e *Encoder, prefix []byte, params []Param) (parts []*Datagram, sizes []int) {
	t.Helper()
	for i := range params {
		if err := e.Add(&params[i]); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.End(); n != e.Len() {
		t.Errorf("End() = %d, Len() = %d", n, e.Len())
	}
	for i := range e.Len() {
		b := e.Datagram(i, prefix)
		d, err := Parse(b)
		if err != nil {
			t.Fatalf("datagram %d: %v\n%x", i, err, b)
		}
		parts, sizes = append(parts, d), append(sizes, len(b))
	}
	return parts, sizes
}

// counts returns the number of parameters of each datagram.
func counts(parts []*Datagram) []int {
	var n []int
	for _, d := range parts {
		n = append(n, len(d.Params))
	}
	return n
}

// text returns a parameter of size bytes on the wire, with a name of one byte.
func text(name string, size int) Param {
	return String(name, strings.Repeat("x", size-16))
}

func TestEncoderSplits(t *testing.T) {
	t.Parallel()
	prefix := AppendPrefix(nil, Version, "", 17, 1) // 28 bytes
	const head = 28 + 8 + 8 + 4                     // and names of four bytes at most, and the count
	tests := []struct {
		name  string
		limit int
		timed bool
		sizes []int // of the parameters
		want  []int // parameters per datagram
		bytes []int // per datagram
	}{
		{"one", 100, false, []int{20}, []int{1}, []int{head + 20}},
		{"nothing", 100, false, nil, nil, nil},
		{"exactly the limit", 100, false, []int{32, 20}, []int{2}, []int{100}},
		{"four bytes over", 100, false, []int{32, 24}, []int{1, 1}, []int{head + 32, head + 24}},
		{"the time counts", 100, true, []int{32, 20}, []int{1, 1}, []int{head + 36, head + 24}},
		{"exactly the limit with the time", 104, true, []int{32, 20}, []int{2}, []int{104}},
		{"alone exactly the limit", 100, false, []int{20, 52, 20}, []int{1, 1, 1}, []int{head + 20, 100, head + 20}},
		{"alone over the limit", 100, false, []int{20, 56, 20, 20}, []int{1, 1, 2}, []int{head + 20, head + 56, head + 40}},
		{"first of all over the limit", 100, false, []int{500, 20}, []int{1, 1}, []int{head + 500, head + 20}},
		{"last of all over the limit", 100, false, []int{20, 500}, []int{1, 1}, []int{head + 20, head + 500}},
		{"several over the limit", 100, false, []int{500, 600, 700}, []int{1, 1, 1}, []int{head + 500, head + 600, head + 700}},
		{"a limit below any datagram", 1, false, []int{20, 20}, []int{1, 1}, []int{head + 20, head + 20}},
		{"no limit means the default", 0, false, []int{DefaultLimit - head, 20}, []int{1, 1}, []int{DefaultLimit, head + 20}},
		{"negative too", -5, false, []int{DefaultLimit - head - 20, 20}, []int{2}, []int{DefaultLimit}},
		{"the largest of all", 100, false, []int{MaxLimit - head}, []int{1}, []int{MaxLimit}},
		{"a limit over the largest", 1 << 20, false, []int{4000, 4000, 4000}, []int{2, 1}, []int{head + 8000, head + 4000}},
		{"each alone with its time", 200, true, []int{100, 100, 100}, []int{1, 1, 1}, []int{head + 104, head + 104, head + 104}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			// Encode twice: the first message must leave nothing behind.
			for range 2 {
				var err error
				if test.timed {
					err = e.BeginTimed(len(prefix), test.limit, "C", "node", 1700000000)
				} else {
					err = e.Begin(len(prefix), test.limit, "C", "node")
				}
				if err != nil {
					t.Fatal(err)
				}
				var params []Param
				for i, size := range test.sizes {
					params = append(params, text(string(rune('a'+i)), size))
				}
				parts, sizes := message(t, &e, prefix, params)
				if diff := cmp.Diff(test.want, counts(parts)); diff != "" {
					t.Errorf("parameters (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.bytes, sizes); diff != "" {
					t.Errorf("bytes (-want +got):\n%s", diff)
				}
				var got []Param
				for _, d := range parts {
					got = append(got, d.Params...)
					d.Params = nil
					want := &Datagram{Version: Version, Instance: 17, Seq: 1, Cluster: "C", Node: "node"}
					if test.timed {
						want.Time, want.Timed = 1700000000, true
					}
					if diff := cmp.Diff(want, d, compareParams); diff != "" {
						t.Errorf("around the parameters (-want +got):\n%s", diff)
					}
				}
				if diff := cmp.Diff(params, got, compareParams); diff != "" {
					t.Errorf("all parameters (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEncoderLeavesOutLargeParameters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		big  Param
		says string
	}{
		{"four bytes too many", text("t", MaxLimit-44), `parameter "t": too large for a datagram: 8196 bytes with its names, at most 8192`},
		{"text over MaxString", String("big", strings.Repeat("x", MaxString+1)), `parameter "big"`},
		{"megabyte of text", String("mega", strings.Repeat("x", 1<<20)), `parameter "mega"`},
		{"megabyte of name", Int(strings.Repeat("n", 1<<20), 1), "(1048576 bytes)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			prefix := AppendPrefix(nil, Version, "", 17, 1)
			var e Encoder
			if err := e.Begin(len(prefix), 0, "C", "N"); err != nil {
				t.Fatal(err)
			}
			before, after := Int("before", 1), Int("after", 2)
			// Parameters before, between and after are not affected.
			checkError(t, e.Add(&test.big), ErrTooLarge, test.says)
			if err := e.Add(&before); err != nil {
				t.Fatal(err)
			}
			checkError(t, e.Add(&test.big), ErrTooLarge, test.says)
			if err := e.Add(&after); err != nil {
				t.Fatal(err)
			}
			checkError(t, e.Add(&test.big), ErrTooLarge, test.says)
			parts, _ := message(t, &e, prefix, nil)
			if len(parts) != 1 {
				t.Fatalf("%d datagrams, want 1", len(parts))
			}
			if diff := cmp.Diff([]Param{before, after}, parts[0].Params, compareParams); diff != "" {
				t.Error(diff)
			}
			if e.Cap() > 64<<10 {
				t.Errorf("the buffer kept %d bytes", e.Cap())
			}
		})
	}
}

func TestEncoderNames(t *testing.T) {
	t.Parallel()
	const room = 28
	tests := []struct {
		name          string
		cluster, node string
		ok            bool
	}{
		{"one parameter just fits", strings.Repeat("c", MaxLimit-room-8-4-smallest), "", true},
		{"a byte more", strings.Repeat("c", MaxLimit-room-8-4-smallest+1), "", false},
		{"the same in the node", "", strings.Repeat("n", MaxLimit-room-8-4-smallest+1), false},
		{"padding counts", strings.Repeat("c", 1), strings.Repeat("n", MaxLimit-room-8-4-smallest-1), false},
		{"megabytes", strings.Repeat("c", 1<<20), strings.Repeat("n", 1<<20), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var e Encoder
			err := e.Begin(room, 0, test.cluster, test.node)
			smallParam := Param{}
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				if err := e.Add(&smallParam); err != nil {
					t.Fatal(err)
				}
				if e.End() != 1 || len(e.Datagram(0, make([]byte, room))) != MaxLimit {
					t.Error("not one datagram of the largest size")
				}
				// The time needs the remaining room.
				checkError(t, e.BeginTimed(room, 0, test.cluster, test.node, 1), ErrTooLarge, "at least 8196 bytes")
				return
			}
			checkError(t, err, ErrTooLarge, "cluster ")
			checkError(t, e.Add(&smallParam), ErrTooLarge, "parameter")
			if n := e.End(); n != 0 {
				t.Errorf("%d datagrams of a message that never began", n)
			}
			// The next message is not affected.
			if err := e.Begin(room, 0, "C", "N"); err != nil {
				t.Fatal(err)
			}
			if err := e.Add(&smallParam); err != nil {
				t.Fatal(err)
			}
			if e.End() != 1 {
				t.Errorf("%d datagrams, want 1", e.Len())
			}
		})
	}
}

func TestEncoderManyParameters(t *testing.T) {
	t.Parallel()
	const n = 100_000
	prefix := AppendPrefix(nil, Version, "secret", 17, 1)
	params := make([]Param, n)
	for i := range params {
		params[i] = Int(fmt.Sprintf("parameter_%d", i), i)
	}
	var e Encoder
	if err := e.BeginTimed(len(prefix), 0, "C", "N", 1700000000); err != nil {
		t.Fatal(err)
	}
	parts, sizes := message(t, &e, prefix, params)
	next := 0
	for i, d := range parts {
		if sizes[i] > DefaultLimit {
			t.Errorf("datagram %d has %d bytes", i, sizes[i])
		}
		for j := range d.Params {
			if d.Params[j] != params[next] {
				t.Fatalf("datagram %d: %+v, want %+v", i, d.Params[j], params[next])
			}
			next++
		}
		if d.Time != 1700000000 || !d.Timed || d.Password != "secret" {
			t.Fatalf("datagram %d: %+v", i, d)
		}
	}
	if next != n {
		t.Errorf("%d parameters, want %d", next, n)
	}
}

func TestEncoderPrefixes(t *testing.T) {
	t.Parallel()
	// A message for two destinations with different passwords is encoded once.
	long := AppendPrefix(nil, Version, "a long password", 17, 1)
	short := AppendPrefix(nil, Version, "", 17, 9)
	var e Encoder
	if err := e.Begin(len(long), 120, "C", "N"); err != nil {
		t.Fatal(err)
	}
	params := []Param{Int("a", 1), Int("b", 2), Int("c", 3), Int("d", 4), Int("e", 5)}
	for i := range params {
		if err := e.Add(&params[i]); err != nil {
			t.Fatal(err)
		}
	}
	n := e.End()
	if n != 2 {
		t.Fatalf("%d datagrams, want 2", n)
	}
	if e.End() != n {
		t.Error("a second End changes the message")
	}
	for _, prefix := range [][]byte{long, short, long, nil, short} {
		var got []Param
		for i := range n {
			b := e.Datagram(i, prefix)
			if !bytes.HasPrefix(b, prefix) {
				t.Fatalf("datagram %d does not begin with its prefix: %x", i, b)
			}
			if cap(b) != len(b) {
				t.Errorf("appending to datagram %d would overwrite the next", i)
			}
			d, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, d.Params...)
		}
		if diff := cmp.Diff(params, got, compareParams); diff != "" {
			t.Errorf("prefix %q: %s", prefix, diff)
		}
	}

	defer func() {
		if recover() == nil {
			t.Error("a prefix longer than the room was taken")
		}
	}()
	e.Datagram(0, append(long, 0))
}
