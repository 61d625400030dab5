package nats

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/xdr"
)

// Headers of a message beside Nats-Msg-Id.
const (
	fromHeader     = "Apmon-From"     // address and port of the sender
	receivedHeader = "Apmon-Received" // when the receiver read the datagram, in RFC 3339
	// The escaped names, if the subject has a hash instead.
	clusterHeader = "Apmon-Cluster"
	nodeHeader    = "Apmon-Node"
)

// slot is one datagram on its way to a stream. Its header is used again.
type slot struct {
	subject string
	data    []byte    // refers to the batch of the output
	born    time.Time // from when on its age counts
	header  nats.Header
	values  [5]string
	state   state
}

// state is how far a datagram is.
type state uint8

const (
	waiting state = iota
	flying        // published, without an answer
	done          // stored, or refused for good
)

// stamp formats receive times. The datagrams of one batch from a socket share theirs.
type stamp struct {
	at   time.Time
	text string
}

func (s *stamp) format(at time.Time) string {
	if at != s.at || s.text == "" {
		s.at, s.text = at, at.UTC().Format(time.RFC3339Nano)
	}
	return s.text
}

// fill makes the message of an accepted datagram.
func (s *slot) fill(p *receiver.Packet, born time.Time, partitions int, st *stamp) {
	d := p.Datagram
	part := subjects.Partition(d.Cluster, d.Node, partitions)
	subject, whole := subjects.Of(part, d.Cluster, d.Node)
	s.subject, s.data, s.born = subject, p.Raw, born
	if s.header == nil {
		s.header = make(nats.Header, len(s.values))
	}
	clear(s.header)
	set := func(i int, key, value string) {
		s.values[i] = value
		s.header[key] = s.values[i : i+1 : i+1]
	}
	set(0, fromHeader, p.From.String())
	set(1, receivedHeader, st.format(p.Received))
	if d.Sequenced() {
		set(2, jetstream.MsgIDHeader, messageID(p.Raw, d))
	}
	if !whole {
		set(3, clusterHeader, string(subjects.AppendToken(nil, d.Cluster)))
		set(4, nodeHeader, string(subjects.AppendToken(nil, d.Node)))
	}
}

// messageID returns the message id of a datagram with a sequence number:
// INSTANCE-SEQ-HASH, where HASH is 64 bits of the SHA-256 of its body: cluster, node,
// parameters and time. The header, with version and password, has no influence, since the
// password differs by destination.
func messageID(raw []byte, d *xdr.Datagram) string {
	header := 4 + (int(binary.BigEndian.Uint32(raw))+3)&^3
	sum := sha256.Sum256(raw[header+8:]) // after instance id and sequence number
	b := make([]byte, 0, 40)
	b = strconv.AppendInt(b, int64(d.Instance), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(d.Seq), 10)
	b = append(b, '-')
	return string(base64.RawURLEncoding.AppendEncode(b, sum[:8]))
}

// origin returns sender and receive time of a message: from its headers, or, if it has none,
// no sender and the time when it was stored.
func origin(h nats.Header, stored time.Time) (from netip.AddrPort, received time.Time) {
	from, _ = netip.ParseAddrPort(h.Get(fromHeader))
	received, err := time.Parse(time.RFC3339Nano, h.Get(receivedHeader))
	if err != nil {
		received = stored
	}
	return from, received
}
