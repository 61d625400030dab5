package apmon

import (
	"sync"

	"github.com/apmon-go/apmon/xdr"
)

// tap passes datagrams to the function of [WithTap], if there is one.
type tap struct {
	see    func(datagram []byte)
	prefix []byte // empty without a tap
	mu     sync.Mutex
	seq    int32
}

func (t *tap) init(see func(datagram []byte), instance int32) {
	if t.see = see; see != nil {
		t.prefix = xdr.AppendPrefix(nil, xdr.Version, "", instance, 0)
		t.seq = 1
	}
}

// send passes the datagrams from … to−1 of a message. It is small enough to be
// inlined: most clients have no tap.
func (t *tap) send(enc *xdr.Encoder, from, to int) {
	if t.see != nil {
		t.show(enc, from, to)
	}
}

func (t *tap) show(enc *xdr.Encoder, from, to int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := from; i < to; i++ {
		b := enc.Datagram(i, t.prefix)
		t.seq = number(b[:len(t.prefix)], t.seq)
		t.see(b)
	}
}
