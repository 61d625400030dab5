package input

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/ip6defrag"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/apmon-go/apmon/xdr"
)

// isCapture reports whether a file that begins with head is a pcap or pcapng file.
func isCapture(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch binary.LittleEndian.Uint32(head) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1, // pcap, in both byte orders, in micro- and nanoseconds
		0x0a0d0d0a: // pcapng
		return true
	}
	return false
}

const (
	// fragmentTime is the time in the capture for which fragments wait for the others, as
	// Linux does.
	fragmentTime = 30 * time.Second
	// maxFragments is the number of fragments after which all that still wait are dropped,
	// so that a hostile capture cannot take more memory.
	maxFragments = 1 << 14
	// maxBeside is the number of bytes that a pcapng file may hold beside packets: each packet
	// makes room for besidePacket more. maxBlocks is the number of interfaces and of names.
	// The library keeps all of them.
	maxBeside    = 4 << 20
	besidePacket = 256
	maxBlocks    = 1 << 16
)

// meter is a reader that fails if it is not fed.
type meter struct {
	r    io.Reader
	left int // bytes
}

var errBeside = errors.New("too many blocks that are no packets")

func (m *meter) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errBeside
	}
	n, err := m.r.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// CaptureStats counts the packets of a capture.
type CaptureStats struct {
	Packets   int // all
	Datagrams int // UDP datagrams to the port
	CutOff    int // of Datagrams: the capture does not hold them whole
	// Fragments counts the fragments of IP packets to any port, since only the first one
	// has the port; Incomplete counts packets of which fragments are missing.
	Fragments, Incomplete int
}

// Capture reads the UDP datagrams of a capture.
type Capture struct {
	source gopacket.PacketDataSource
	link   func(gopacket.CaptureInfo) gopacket.Decoder
	check  func(packet int) error // after a packet of that length; nil for pcap
	port   uint16
	stats  CaptureStats
	v4     *ip4defrag.IPv4Defragmenter
	v6     *ip6defrag.IPv6Defragmenter
	recent int       // fragments since oldest
	oldest time.Time // the time of the first of them
}

func newCapture(r io.Reader, head []byte, port uint16) (*Capture, error) {
	c := &Capture{port: port, v4: ip4defrag.NewIPv4Defragmenter(), v6: ip6defrag.NewIPv6Defragmenter()}
	if bytes.HasPrefix(head, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		options := pcapgo.DefaultNgReaderOptions
		options.WantMixedLinkType = true
		m := &meter{r, maxBeside}
		ng, err := pcapgo.NewNgReader(m, options)
		if err != nil {
			return nil, fmt.Errorf("pcapng: %w", err)
		}
		c.source = ng
		c.check = func(packet int) error {
			m.left = min(m.left+packet+besidePacket, maxBeside)
			if ng.NInterfaces() > maxBlocks || ng.NNames() > maxBlocks {
				return errBeside
			}
			return nil
		}
		c.link = func(ci gopacket.CaptureInfo) gopacket.Decoder {
			for _, a := range ci.AncillaryData {
				if l, ok := a.(layers.LinkType); ok {
					return l
				}
			}
			return ng.LinkType()
		}
		return c, nil
	}
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("pcap: %w", err)
	}
	c.source, c.link = p, func(gopacket.CaptureInfo) gopacket.Decoder { return p.LinkType() }
	return c, nil
}

// Unit implements [Reader].
func (c *Capture) Unit() string { return "packet" }

// Stats returns the counts so far; after the end of the capture, all of them.
func (c *Capture) Stats() CaptureStats { return c.stats }

// Next implements [Reader]. It passes over packets that are not for the port.
func (c *Capture) Next() (Item, error) {
	for {
		data, ci, err := c.source.ReadPacketData()
		if err == nil && c.check != nil {
			err = c.check(len(data))
		}
		switch {
		case err == io.EOF:
			c.discardAll()
			return Item{}, io.EOF
		case errors.Is(err, io.ErrUnexpectedEOF):
			return Item{}, fmt.Errorf("the capture ends within packet %d", c.stats.Packets+1)
		case err != nil:
			return Item{}, fmt.Errorf("packet %d: %w", c.stats.Packets+1, err)
		}
		c.stats.Packets++
		if it, ok := c.datagram(data, ci); ok {
			c.stats.Datagrams++
			it.At = ci.Timestamp
			return it, nil
		}
	}
}

// datagram returns the UDP datagram of a packet, or of all fragments if it is the last.
func (c *Capture) datagram(data []byte, ci gopacket.CaptureInfo) (it Item, ok bool) {
	// The library guards its decoder against hostile packets, its reassembly not.
	defer func() {
		if recover() != nil {
			c.v4, c.v6 = ip4defrag.NewIPv4Defragmenter(), ip6defrag.NewIPv6Defragmenter()
			c.stats.Incomplete++
			ok = false
		}
	}()
	p := gopacket.NewPacket(data, c.link(ci), gopacket.DecodeOptions{NoCopy: true})
	var from netip.Addr
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		from, _ = netip.AddrFromSlice(ip.SrcIP)
		if ip.Flags&layers.IPv4MoreFragments != 0 || ip.FragOffset != 0 {
			c.fragment(ci.Timestamp)
			whole, err := c.v4.DefragIPv4WithTimestamp(ip, ci.Timestamp)
			if err != nil || whole == nil {
				return it, false
			}
			return c.udp(from, whole.Protocol, whole.Payload)
		}
	case *layers.IPv6:
		from, _ = netip.AddrFromSlice(ip.SrcIP)
		if f, ok := p.Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment); ok {
			c.fragment(ci.Timestamp)
			whole := c.v6.DefragIPv6(ip, f)
			if whole == nil {
				return it, false
			}
			return c.udp(from, whole.NextHeader, whole.Payload)
		}
	default:
		return it, false
	}
	udp, ok := p.TransportLayer().(*layers.UDP)
	if !ok {
		return it, false
	}
	return c.payload(from, udp)
}

// udp returns the datagram of an IP packet that was put together.
func (c *Capture) udp(from netip.Addr, next layers.IPProtocol, payload []byte) (Item, bool) {
	var udp layers.UDP
	if next != layers.IPProtocolUDP || udp.DecodeFromBytes(payload, gopacket.NilDecodeFeedback) != nil {
		return Item{}, false
	}
	return c.payload(from, &udp)
}

// payload returns the datagram, if it is one to the port.
func (c *Capture) payload(from netip.Addr, udp *layers.UDP) (Item, bool) {
	if c.port != 0 && uint16(udp.DstPort) != c.port {
		return Item{}, false
	}
	it := Item{From: netip.AddrPortFrom(from, uint16(udp.SrcPort)), Raw: udp.Payload}
	if want := int(udp.Length) - 8; len(udp.Payload) < want {
		c.stats.CutOff++
		it.Raw, it.Err = nil, &xdr.DecodeError{Field: "packet", Offset: len(udp.Payload),
			Err: fmt.Errorf("%w: it has %d bytes, and the capture holds %d of them", xdr.ErrLength, want, len(udp.Payload))}
	}
	return it, true
}

// fragment counts a fragment, and from time to time drops those that have waited too long.
func (c *Capture) fragment(at time.Time) {
	c.stats.Fragments++
	if c.recent++; c.recent == 1 {
		c.oldest = at
	}
	switch {
	case c.recent > maxFragments:
		c.discardAll()
	case at.Sub(c.oldest) > fragmentTime:
		// The library takes the present as the time of a fragment of IPv6.
		c.stats.Incomplete += c.v4.DiscardOlderThan(at.Add(-fragmentTime))
		c.oldest = at
	}
}

// discardAll drops the fragments that wait for others.
func (c *Capture) discardAll() {
	end := time.Unix(1<<40, 0)
	c.stats.Incomplete += c.v4.DiscardOlderThan(end) + c.v6.DiscardOlderThan(end)
	c.recent = 0
}
