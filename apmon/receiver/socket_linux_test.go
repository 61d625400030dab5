package receiver

import (
	"testing"
)

func TestParseDrops(t *testing.T) {
	const text = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  318: 0100007F:22B4 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 81190 2 00000000d43b6ac5 0
 2456: 00000000:0BFE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81191 2 00000000f0e22f94 12345
 2457: 00000000:0BFF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 81192
`
	for _, c := range []struct {
		inode, want uint64
		ok          bool
	}{{81190, 0, true}, {81191, 12345, true}, {81192, 0, false}, {8119, 0, false}, {0, 0, false}} {
		if got, ok := parseDrops(text, c.inode); got != c.want || ok != c.ok {
			t.Errorf("inode %d: %d %v, want %d %v", c.inode, got, ok, c.want, c.ok)
		}
	}
}

func TestKernelDropsAreKnown(t *testing.T) {
	r := listen(t, "127.0.0.1:0", Options{ReadBuffer: 1})
	c := dial(t, r)
	const n = 1000
	for i := range n {
		send(t, c, datagram("", i))
	}
	received := uint64(0)
	all(t, r, func(*Packet) { received++ })
	s := r.Stats()
	if !s.KernelKnown {
		t.Skip("no /proc/net/udp here")
	}
	if s.KernelDropped == 0 || received+s.KernelDropped != n {
		t.Errorf("%d received, %d dropped, %d sent; buffer of %d bytes", received, s.KernelDropped, n, s.ReadBuffer)
	}
	r.Close()
	if closed := r.Stats(); closed.KernelDropped != s.KernelDropped || !closed.KernelKnown {
		t.Errorf("after Close: %+v, before: %+v", closed, s)
	}
}
