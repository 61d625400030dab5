package output

import (
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/history"
)

// LastValues is a [Sink] that stores the values of accepted datagrams, truncated ones
// included, as the last ones and in windows. Each may be nil.
type LastValues struct {
	Store   *history.Store
	Windows *history.Windows
}

// Offer implements [Sink].
func (l LastValues) Offer(p *receiver.Packet) {
	d := p.Datagram
	if d == nil {
		return
	}
	sent := int32(0)
	if d.Timed && d.Time > 0 {
		sent = d.Time
	}
	if l.Store != nil {
		l.Store.Offer(d.Cluster, d.Node, d.Params, p.Received, sent)
	}
	if l.Windows != nil {
		l.Windows.Offer(d.Cluster, d.Node, d.Params, p.Received, sent)
	}
}
