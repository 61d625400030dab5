package receiver

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

const (
	// ReportCluster is the cluster of a [Report].
	ReportCluster = "ApMon_Receiver"
	// ReportInterval is the time between two reports in the MonALISA service.
	ReportInterval = time.Minute
)

// Report makes reports on a receiver under the names of the MonALISA service, for outputs
// that take datagrams:
//
//	ApMon_PORT_lostDatagrams         datagrams lost on the way since the start
//	ApMon_PORT_lostDatagrams_R       in datagrams/s, since the report before
//	ApMon_PORT_receivedDatagrams     datagrams accepted since the start
//	ApMon_PORT_receivedDatagrams_R   in datagrams/s, since the report before
//	ApMon_PORT_activeSenders         senders within the last [SenderLifetime]
//
// A datagram that arrives late is not lost after all: the number of lost ones may decrease,
// its rate is never below 0. A Report is a sender with an instance id and sequence numbers of
// its own. It must not be used concurrently.
type Report struct {
	from   netip.AddrPort
	prefix string // of the names of parameters
	last   Stats
	at     time.Time
	d      xdr.Datagram
	p      Packet
}

// NewReport returns reports on a receiver. The node is the name of this host. The rates of
// the first report are those since then.
func (r *Receiver) NewReport(node string) *Report {
	return &Report{
		from:   r.addr,
		prefix: "ApMon_" + strconv.Itoa(int(r.addr.Port())) + "_",
		last:   r.Stats(),
		at:     time.Now(),
		d:      xdr.Datagram{Version: xdr.Version, Instance: rand.Int32(), Cluster: ReportCluster, Node: node},
	}
}

// Packet returns the report on the counts of the receiver at a time, as a datagram without a
// password that comes from the receiver's own address. It is valid until the next call.
func (r *Report) Packet(now time.Time, s Stats) *Packet {
	elapsed := now.Sub(r.at).Seconds()
	rate := func(n, before uint64) float64 {
		if elapsed <= 0 || n < before {
			return 0
		}
		return float64(n-before) / elapsed
	}
	r.d.Seq++ // a report each minute does not reach the largest number
	r.d.Params = append(r.d.Params[:0],
		xdr.Int(r.prefix+"lostDatagrams", s.Lost),
		xdr.Float(r.prefix+"lostDatagrams_R", rate(s.Lost, r.last.Lost)),
		xdr.Int(r.prefix+"receivedDatagrams", s.Received),
		xdr.Float(r.prefix+"receivedDatagrams_R", rate(s.Received, r.last.Received)),
		xdr.Int(r.prefix+"activeSenders", s.ActiveSenders))
	r.last, r.at = s, now
	r.p = Packet{From: r.from, Received: now, Raw: r.d.Append(r.p.Raw[:0]), Datagram: &r.d}
	return &r.p
}
