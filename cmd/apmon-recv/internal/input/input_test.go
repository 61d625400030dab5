package input

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/klauspost/compress/zstd"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/lines"
	"github.com/apmon-go/apmon/xdr"
)

// item is an Item as a test compares it.
type item struct {
	At       int64 // microseconds
	From     string
	Datagram *xdr.Datagram
	Err      string
}

// readAll returns all items of a file.
func readAll(t *testing.T, in io.Reader, port uint16) ([]item, Reader, error) {
	t.Helper()
	r, err := New(in, port)
	if err != nil {
		t.Fatal(err)
	}
	var all []item
	for {
		it, err := r.Next()
		if err == io.EOF {
			return all, r, nil
		}
		if err != nil {
			return all, r, err
		}
		var got item
		if !it.At.IsZero() {
			got.At = it.At.UnixMicro()
		}
		if it.From.IsValid() {
			got.From = it.From.String()
		}
		if it.Err != nil {
			got.Err = it.Err.Error()
		} else if got.Datagram, err = xdr.Parse(it.Raw); err != nil {
			got.Err = err.Error()
		}
		all = append(all, got)
	}
}

func example(seq int32) *xdr.Datagram {
	return &xdr.Datagram{Version: "2.2.20", Instance: 7, Seq: seq, Cluster: "C \"x\"", Node: "n/1", Timed: true, Time: 1700000000,
		Params: []xdr.Param{xdr.Int("i", -5), xdr.Int64("l", 1<<60+1), xdr.Float("f", 0.1), xdr.Real32("r", 0.3), xdr.String("s", "a\nb\x1bü"),
			xdr.Float("inf", math.Inf(-1)), xdr.Float("big", 1e300)}}
}

var equal = cmp.Options{cmp.Comparer(func(a, b xdr.Param) bool {
	return a.Name == b.Name && a.Type() == b.Type() && a.Text() == b.Text() && a.Int() == b.Int() && a.Float() == b.Float()
})}

// JSON lines of apmon-recv are read back equal, mixed with hexadecimal.
func TestLines(t *testing.T) {
	t.Parallel()
	plain := &xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}
	at := time.Unix(1763735000, 123456000)
	var b []byte
	b = append(lines.AppendJSON(b, at, "192.0.2.1:99", example(1), nil), '\n')
	b = fmt.Appendf(b, " %x\r\n", plain.Append(nil))
	b = append(lines.AppendJSON(b, time.Time{}, "", plain, nil), '\n')
	b = append(lines.AppendJSON(b, at, "[::1]:5", nil, xdr.ErrLength), '\n')
	b = append(b, "{\"a\":}\nzz\n"+`{"cluster":"C","params":[{"name":"a","type":"int8","value":1}]}`+"\n{}\n"...)
	truncated := append(lines.AppendJSON(nil, at, "192.0.2.1:99", example(2), xdr.ErrTruncated), '\n')
	b = append(b, truncated...)
	got, r, err := readAll(t, bytes.NewReader(b), 0)
	if err != nil || r.Unit() != "line" {
		t.Fatal(r.Unit(), err)
	}
	want := []item{
		{At: at.UnixMicro(), From: "192.0.2.1:99", Datagram: example(1)},
		{Datagram: plain},
		{Datagram: plain},
		{At: at.UnixMicro(), From: "[::1]:5", Err: "refused when it was received: impossible length"},
		{Err: "JSON: invalid character '}' looking for beginning of value (offset 0)"},
		{Err: "hex: not a hex digit: 'z' in column 1 (offset 0)"},
		{Err: `JSON: parameter 1: unknown type "int8" (offset 0)`},
		{Err: "JSON: not a datagram: it has neither a cluster nor parameters (offset 0)"},
		{At: at.UnixMicro(), From: "192.0.2.1:99", Datagram: example(2)},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
}

// A line is one datagram, however long, and does not disturb the next.
func TestLongLines(t *testing.T) {
	t.Parallel()
	good := hex.EncodeToString(example(1).Append(nil))
	long := `{"cluster":"` + strings.Repeat("x", 2<<20) + `"}`
	got, _, err := readAll(t, strings.NewReader(good+"\n"+long+"\n"+good), 0)
	if err != nil || len(got) != 3 || got[0].Err != "" || got[1].Err == "" || got[2].Err != "" {
		t.Errorf("%d items, %v", len(got), err)
	}
}

func TestCompressed(t *testing.T) {
	t.Parallel()
	const n = 5000
	var text []byte
	for i := range int32(n) {
		text = fmt.Appendf(text, "%x\n", example(i).Append(nil))
	}
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(text)
	g.Close()
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(text)
	z.Close()
	for _, b := range [][]byte{gz.Bytes(), zst.Bytes()} {
		got, _, err := readAll(t, bytes.NewReader(b), 0)
		if err != nil || len(got) != n || got[0].Err != "" {
			t.Errorf("%d items, %v", len(got), err)
		}
		// A file that was cut off is an error after what could be read.
		if got, _, err := readAll(t, bytes.NewReader(b[:len(b)-5]), 0); err == nil || len(got) == 0 {
			t.Errorf("%d items of a file that was cut off, %v", len(got), err)
		}
	}
}

// packets builds the packets of a capture.
type packets struct {
	t  testing.TB
	v6 bool
}

var macs = layers.Ethernet{SrcMAC: net.HardwareAddr{0, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{0, 0, 0, 0, 0, 2}}

func (p packets) serialize(all ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		p.t.Fatal(err)
	}
	return b.Bytes()
}

// datagram returns the packets of a datagram, in fragments of at most size bytes.
func (p packets) datagram(payload []byte, port uint16, id uint32, size int) [][]byte {
	eth := macs
	ip4 := layers.IPv4{Version: 4, TTL: 9, Protocol: layers.IPProtocolUDP, Id: uint16(id), SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 2}}
	ip6 := layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
	udp := layers.UDP{SrcPort: 4242, DstPort: layers.UDPPort(port)}
	if p.v6 {
		udp.SetNetworkLayerForChecksum(&ip6)
		eth.EthernetType = layers.EthernetTypeIPv6
	} else {
		udp.SetNetworkLayerForChecksum(&ip4)
		eth.EthernetType = layers.EthernetTypeIPv4
	}
	whole := bytes.Clone(p.serialize(&udp, gopacket.Payload(payload)))
	if len(whole) <= size {
		if p.v6 {
			return [][]byte{bytes.Clone(p.serialize(&eth, &ip6, gopacket.Payload(whole)))}
		}
		return [][]byte{bytes.Clone(p.serialize(&eth, &ip4, gopacket.Payload(whole)))}
	}
	var all [][]byte
	for at := 0; at < len(whole); at += size {
		end := min(at+size, len(whole))
		var b []byte
		if p.v6 {
			// The library does not write fragment headers.
			offset := at
			if end < len(whole) {
				offset |= 1
			}
			header := []byte{byte(layers.IPProtocolUDP), 0, byte(offset >> 8), byte(offset), byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
			ip6.NextHeader = layers.IPProtocolIPv6Fragment
			b = p.serialize(&eth, &ip6, gopacket.Payload(append(header, whole[at:end]...)))
		} else {
			ip4.FragOffset, ip4.Flags = uint16(at/8), 0
			if end < len(whole) {
				ip4.Flags = layers.IPv4MoreFragments
			}
			b = p.serialize(&eth, &ip4, gopacket.Payload(whole[at:end]))
		}
		all = append(all, bytes.Clone(b))
	}
	return all
}

// capture returns a file with these packets, a millisecond apart.
func capture(t testing.TB, ng bool, all ...[]byte) []byte {
	var b bytes.Buffer
	var write func(gopacket.CaptureInfo, []byte) error
	if ng {
		w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Flush()
		write = func(ci gopacket.CaptureInfo, p []byte) error {
			defer w.Flush()
			return w.WritePacket(ci, p)
		}
	} else {
		w := pcapgo.NewWriter(&b)
		if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
			t.Fatal(err)
		}
		write = w.WritePacket
	}
	for i, p := range all {
		if err := write(gopacket.CaptureInfo{Timestamp: time.Unix(1763735000, int64(i)*1e6), CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// Datagrams of both versions of IP, whole and in fragments, in both kinds of file.
func TestCapture(t *testing.T) {
	t.Parallel()
	long := example(2)
	for i := range 300 {
		long.Params = append(long.Params, xdr.String(fmt.Sprintf("parameter_%d", i), "text"))
	}
	for _, ng := range []bool{false, true} {
		for _, v6 := range []bool{false, true} {
			p := packets{t, v6}
			short, fragments := p.datagram(example(1).Append(nil), 8884, 1, 1400), p.datagram(long.Append(nil), 8884, 2, 1400)
			other := p.datagram(example(9).Append(nil), 53, 3, 1400)
			lost := p.datagram(long.Append(nil), 8884, 4, 1400)
			all := [][]byte{short[0], other[0]}
			// Fragments arrive in any order.
			all = append(all, fragments[len(fragments)-1])
			all = append(all, fragments[:len(fragments)-1]...)
			all = append(all, lost[1:]...)
			all = append(all, short[0], []byte("no packet"))
			name := fmt.Sprintf("pcapng %v, IPv6 %v", ng, v6)
			got, r, err := readAll(t, bytes.NewReader(capture(t, ng, all...)), 8884)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			from := "192.0.2.1:4242"
			if v6 {
				from = "[2001:db8::1]:4242"
			}
			at := time.Unix(1763735000, 0).UnixMicro()
			want := []item{
				{At: at, From: from, Datagram: example(1)},
				{At: at + int64(len(fragments)+1)*1000, From: from, Datagram: long},
				{At: at + int64(len(all)-2)*1000, From: from, Datagram: example(1)},
			}
			if diff := cmp.Diff(want, got, equal); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			stats := r.(*Capture).Stats()
			if want := (CaptureStats{Packets: len(all), Datagrams: 3, Fragments: len(fragments) + len(lost) - 1, Incomplete: 1}); stats != want {
				t.Errorf("%s: %+v, want %+v", name, stats, want)
			}
		}
	}
}

// A capture of the first bytes of each packet has no datagrams, and says so.
func TestCutOff(t *testing.T) {
	t.Parallel()
	p := packets{t, false}.datagram(example(1).Append(nil), 8884, 1, 1400)[0]
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	w.WriteFileHeader(96, layers.LinkTypeEthernet)
	w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: 96, Length: len(p)}, p[:96])
	got, r, err := readAll(t, bytes.NewReader(b.Bytes()), 8884)
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Err, "the capture holds 54 of them") {
		t.Errorf("%+v, %v", got, err)
	}
	if s := r.(*Capture).Stats(); s.CutOff != 1 || s.Datagrams != 1 {
		t.Errorf("%+v", s)
	}
}

// A capture that ends within a packet gives what is before it.
func TestCaptureEndsEarly(t *testing.T) {
	t.Parallel()
	p := packets{t, false}.datagram(example(1).Append(nil), 8884, 1, 1400)[0]
	for _, ng := range []bool{false, true} {
		b := capture(t, ng, p, p)
		got, _, err := readAll(t, bytes.NewReader(b[:len(b)-40]), 8884)
		if len(got) != 1 || err == nil {
			t.Errorf("%d datagrams, %v", len(got), err)
		}
	}
}

// Fragments of a hostile capture take no memory without end.
func TestManyFragments(t *testing.T) {
	t.Parallel()
	frags := packets{t, false}.datagram(make([]byte, 3000), 8884, 0, 1400)
	first := bytes.Clone(frags[0])
	var all [][]byte
	for id := range 2*maxFragments + 10 {
		p := bytes.Clone(first)
		p[14+4], p[14+5] = byte(id>>8), byte(id) // its identification
		all = append(all, p)
	}
	_, r, err := readAll(t, bytes.NewReader(capture(t, false, all...)), 8884)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.(*Capture).Stats(); s.Fragments != len(all) || s.Incomplete != len(all) {
		t.Errorf("%+v", s)
	}
}

// Blocks of interfaces without end take no memory without end.
func TestManyInterfaces(t *testing.T) {
	t.Parallel()
	whole := capture(t, true, packets{t, false}.datagram(example(1).Append(nil), 8884, 1, 1400)[0])
	section := binary.LittleEndian.Uint32(whole[4:])
	iface := binary.LittleEndian.Uint32(whole[section+4:])
	first, packet := whole[:section], whole[section+iface:]
	const smallest = "\x01\x00\x00\x00\x14\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00"
	few := append([]byte(strings.Repeat(smallest, 20)), packet...)
	for _, c := range []struct {
		name      string
		file      []byte
		datagrams int
	}{
		{"alone", append(bytes.Clone(first), strings.Repeat(smallest, 2*maxBeside/len(smallest))...), 0},
		{"between packets", append(bytes.Clone(first), bytes.Repeat(few, maxBlocks/20+10)...), maxBlocks / 20},
	} {
		got, _, err := readAll(t, bytes.NewReader(c.file), 8884)
		if err == nil || !strings.Contains(err.Error(), errBeside.Error()) || len(got) != c.datagrams {
			t.Errorf("%s: %d datagrams, %v", c.name, len(got), err)
		}
	}
}

// No file makes the reader fail otherwise than with an error, or go on without end. Each line of
// a file that is not compressed is one item, and each item can be written as JSON.
func FuzzInput(f *testing.F) {
	p4, p6 := packets{f, false}, packets{f, true}
	f.Add(capture(f, false, append(p4.datagram(example(1).Append(nil), 8884, 1, 1400), p4.datagram(make([]byte, 3000), 8884, 2, 1400)...)...))
	f.Add(capture(f, true, append(p6.datagram(example(1).Append(nil), 8884, 1, 1400), p6.datagram(make([]byte, 3000), 8884, 2, 1400)...)...))
	f.Add(lines.AppendJSON(nil, time.Unix(1, 0), "[::1]:5", example(1), nil))
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("\n\r\n00000001630000000000000100000000\nzz\n0"))
	f.Add(fmt.Appendf(nil, " %x\t\r\n%x", example(1).Append(nil), example(2).Append(nil)))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := New(bytes.NewReader(file), 0)
		if err != nil {
			return
		}
		var d xdr.Datagram
		var line []byte
		n := 0
		for ; ; n++ {
			it, err := r.Next()
			if err != nil {
				break
			}
			if it.Err != nil && it.Raw != nil {
				t.Fatalf("%+v", it)
			}
			if it.Err == nil {
				it.Err = d.Decode(it.Raw)
			}
			if line = lines.AppendJSON(line[:0], it.At, "h", &d, it.Err); !json.Valid(line) {
				t.Fatalf("not JSON: %s", line)
			}
			if n > len(file)*1100 { // no compression does more
				t.Fatal("no end")
			}
		}
		want := bytes.Count(file, []byte("\n"))
		if len(file) > 0 && file[len(file)-1] != '\n' {
			want++
		}
		if compressed := bytes.HasPrefix(file, gzipMagic) || bytes.HasPrefix(file, zstdMagic); r.Unit() == "line" && !compressed && n != want {
			t.Fatalf("%d items in %d lines", n, want)
		}
	})
}
