package receiver

import "testing"

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
		t.Skip("the kernel does not report its drops")
	}
	if s.KernelDropped == 0 || received+s.KernelDropped != n {
		t.Errorf("%d received, %d dropped, %d sent; buffer of %d bytes", received, s.KernelDropped, n, s.ReadBuffer)
	}
	r.Close()
	if closed := r.Stats(); closed.KernelDropped != s.KernelDropped || !closed.KernelKnown {
		t.Errorf("after Close: %+v, before: %+v", closed, s)
	}
}
