package xdr

import (
	"math"
	"runtime"
	"strings"
	"testing"
)

// These tests count allocations, so they run alone: none is parallel.

func TestEncoderAllocatesNothing(t *testing.T) {
	prefix := AppendPrefix(nil, Version, "secret", 17, 1)
	for _, n := range []int{1, 10, 50, 500} {
		params := benchParams(n)
		var e Encoder
		got := testing.AllocsPerRun(100, func() {
			if err := e.BeginTimed(len(prefix), DefaultLimit, "MySite_Jobs", "123456", 1700000000); err != nil {
				t.Fatal(err)
			}
			for i := e.AddPlain(params); i < len(params); i += 1 + e.AddPlain(params[i+1:]) {
				if err := e.Add(&params[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i := range e.End() {
				e.Datagram(i, prefix)
			}
		})
		if got != 0 {
			t.Errorf("%d parameters: %v allocations", n, got)
		}
	}
}

func TestConstructorsAndChecksAllocateNothing(t *testing.T) {
	name, text := "status", "RUNNING"
	got := testing.AllocsPerRun(100, func() {
		for _, p := range [...]Param{Int(name, 1), Int(name, uint64(math.MaxUint64)), Float(name, 1.5), String(name, text)} {
			if p.Check() != nil {
				t.Fatal()
			}
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for _, n := range []int{1, 10, 50} {
		b := benchDatagram(n)
		var d Datagram
		got := testing.AllocsPerRun(100, func() {
			if err := d.Decode(b); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%d parameters: %v allocations", n, got)
		}
	}
}

// Parse allocates the datagram, one copy of the bytes, and the parameters.
func TestParseAllocatesThrice(t *testing.T) {
	for _, n := range []int{1, 10, 50} {
		b := benchDatagram(n)
		got := testing.AllocsPerRun(100, func() {
			if _, err := Parse(b); err != nil {
				t.Fatal(err)
			}
		})
		if got > 3 {
			t.Errorf("%d parameters: %v allocations", n, got)
		}
	}
}

func TestJSONAllocatesNothing(t *testing.T) {
	d, err := Parse(benchDatagram(50))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 16<<10)
	got := testing.AllocsPerRun(100, func() { buf = d.AppendJSON(buf[:0], "127.0.0.1:4242") })
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// Decode allocates only the error for a datagram that declares much and holds
// little.
func TestHostileDatagramsAllocateLittle(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		most uint64 // bytes allocated per datagram
	}{
		{"header of 2 GiB", wire(math.MaxInt32, 0), 512},
		{"header of -1", wire(-1, -1), 512},
		{"header of 32767", wire(MaxString, 0), 512},
		{"nothing", nil, 512},
		{"count of 2^31-1", wire("", "", math.MaxInt32), 512},
		{"version of 32767 digits", wire("v:" + strings.Repeat("9", MaxString-4) + "p:"), 1024},
		// The largest UDP datagram with the most parameters it can hold, and an
		// error in the last one: Decode reuses the parameters.
		{"5459 parameters, the last of no type", wire("", "", 5459, raw(strings.Repeat("\x00", 5458*smallest)), "", 1, 0), 512},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var d Datagram
			if d.Decode(test.in) == nil {
				t.Fatal("accepted")
			}
			const runs = 1000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				d.Decode(test.in)
			}
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > test.most {
				t.Errorf("%d bytes allocated, at most %d wanted", got, test.most)
			}
		})
	}
}
