package output

import (
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/history"
)

// LastValues is a [Sink] that stores the values of accepted datagrams, truncated ones
// included.
type LastValues struct{ Store *history.Store }

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
	l.Store.Offer(d.Cluster, d.Node, d.Params, p.Received, sent)
}
