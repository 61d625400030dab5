package xdr

import (
	"fmt"
	"testing"
)

// benchSizes are the numbers of parameters measured: one, a typical call, and about
// as many as one datagram of DefaultLimit bytes holds.
var benchSizes = []int{1, 10, 50}

// benchParams returns n parameters as a job sends them: ints, floats and texts in
// turn.
func benchParams(n int) []Param {
	mix := []Param{
		Int("cpu_usage", 93),
		Float("cpu_time", 12345.678),
		String("status", "RUNNING"),
		Int("processes", 7),
		Float("virtualmem", 1843200.5),
		String("host", "wn0123.cern.ch"),
		Int("events", 1_200_000),
		Float("load1", 0.93),
		Int("open_files", 112),
		Float("rss", 812344.25),
	}
	params := make([]Param, n)
	for i := range params {
		params[i] = mix[i%len(mix)]
	}
	return params
}

// benchDatagram is one datagram of n such parameters.
func benchDatagram(n int) []byte {
	d := Datagram{
		Version: Version, Instance: 1071215105, Seq: 42,
		Cluster: "MySite_Jobs", Node: "123456", Params: benchParams(n),
	}
	return d.Append(nil)
}

// BenchmarkEncode encodes a whole message as a client does: names, parameters, and
// the prefix of one destination.
func BenchmarkEncode(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("params=%d", n), func(b *testing.B) {
			params := benchParams(n)
			prefix := AppendPrefix(nil, Version, "", 1071215105, 42)
			var e Encoder
			var size int
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Begin(len(prefix), DefaultLimit, "MySite_Jobs", "123456"); err != nil {
					b.Fatal(err)
				}
				if e.AddPlain(params) != len(params) {
					b.Fatal("not all were added")
				}
				size = 0
				for i := range e.End() {
					size += len(e.Datagram(i, prefix))
				}
			}
			b.SetBytes(int64(size))
		})
	}
}

// BenchmarkDecode decodes the same datagrams. The result refers to the buffer.
func BenchmarkDecode(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("params=%d", n), func(b *testing.B) {
			datagram := benchDatagram(n)
			var d Datagram
			b.SetBytes(int64(len(datagram)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(datagram); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParse is BenchmarkDecode with a copy.
func BenchmarkParse(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("params=%d", n), func(b *testing.B) {
			datagram := benchDatagram(n)
			b.SetBytes(int64(len(datagram)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(datagram); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
