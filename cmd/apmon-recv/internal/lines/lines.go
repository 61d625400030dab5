// Package lines writes received datagrams as lines: as text for people, and as JSON for
// programs and for `apmon-recv replay`.
package lines

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// Sender formats addresses of senders without allocation.
type Sender struct {
	last netip.AddrPort
	text []byte
}

// Text returns an address as text, which is valid until the next call; it is empty for an invalid
// address.
func (s *Sender) Text(from netip.AddrPort) string {
	if from != s.last || s.text == nil {
		s.last, s.text = from, from.AppendTo(s.text[:0])
	}
	return unsafe.String(unsafe.SliceData(s.text), len(s.text))
}

// AppendJSON appends a datagram as a JSON object, without a line end: that of
// [xdr.Datagram.AppendJSON], or of [xdr.AppendJSONError] if err is not nil, with the time of
// arrival as its last member, in seconds since the Epoch to a microsecond:
//
//	{"from":"127.0.0.1:4242",…,"received":1763735000.123456}
//
// Without a time of arrival there is no such member. D may be nil with an error.
func AppendJSON(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
	if err != nil {
		b = xdr.AppendJSONError(b, from, d, err)
	} else {
		b = d.AppendJSON(b, from)
	}
	if at.IsZero() {
		return b
	}
	b = append(b[:len(b)-1], `,"received":`...)
	b = strconv.AppendInt(b, at.Unix(), 10)
	micros := at.Nanosecond() / 1000
	b = append(b, '.', '0', '0', '0', '0', '0', '0')
	for i := len(b) - 1; micros > 0; i-- {
		b[i] += byte(micros % 10)
		micros /= 10
	}
	return append(b, '}')
}

// AppendText appends a datagram for people to read, without a line end:
//
//	2023-11-14T22:13:20Z 127.0.0.1:4242 C/N x=1 status="RUNNING"
//	2023-11-14T22:13:20Z 127.0.0.1:4242 C/N x=1 truncated: parameter 2: …
//	2023-11-14T22:13:20Z 127.0.0.1:4242 refused: time: … from C/N version=2.2.20_go instance=17 seq=1
//
// The output cannot steer a terminal: all texts are quoted, and so are names with
// other than plain characters. At and from may be empty; d may be nil with an error.
func AppendText(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
	switch {
	case err == nil && d.Timed && d.Time > 0: // other values mean "now"
		b = stamp(b, time.Unix(int64(d.Time), 0))
	case !at.IsZero():
		b = stamp(b, at)
	default:
		b = append(b, '-')
	}
	b = append(b, ' ')
	if from == "" {
		from = "-"
	}
	b = append(b, from...)
	if err != nil && !errors.Is(err, xdr.ErrTruncated) {
		b = append(b, " refused: "...)
		b = append(b, plain(err.Error())...)
		return appendHead(b, d)
	}
	b = append(b, ' ')
	b = appendTo(b, d)
	for i := range d.Params {
		p := &d.Params[i]
		b = append(b, ' ')
		b = appendName(b, p.Name, `="`)
		b = append(b, '=')
		switch p.Type() {
		case xdr.TypeString:
			b = strconv.AppendQuote(b, p.Text())
		case xdr.TypeInt32, xdr.TypeInt64:
			b = strconv.AppendInt(b, p.Int(), 10)
		default:
			b = safetext.AppendFloat(b, p.Float())
		}
	}
	if err != nil {
		b = append(b, " truncated: "...)
		b = append(b, plain(err.Error())...)
	}
	return b
}

// appendTo appends CLUSTER/NODE.
func appendTo(b []byte, d *xdr.Datagram) []byte {
	b = appendName(b, d.Cluster, `="/`)
	b = append(b, '/')
	return appendName(b, d.Node, `="`)
}

// appendHead appends the parts of a refused datagram that could be read.
func appendHead(b []byte, d *xdr.Datagram) []byte {
	if d == nil || d.Version == "" && d.Cluster == "" {
		return b
	}
	b = append(b, " from "...)
	b = appendTo(b, d)
	if d.Version != "" {
		b = append(b, " version="...)
		b = appendName(b, d.Version, `="`)
		if d.Sequenced() {
			b = fmt.Appendf(b, " instance=%d seq=%d", d.Instance, d.Seq)
		}
	}
	return b
}

// appendName appends a name. It quotes the name if it is empty, or contains a blank, a
// special character, or a character that cannot be printed.
func appendName(b []byte, name, special string) []byte {
	odd := func(r rune) bool {
		return r == ' ' || r == '\\' || r == '\uFFFD' || !strconv.IsPrint(r) || strings.ContainsRune(special, r)
	}
	if name == "" || strings.ContainsFunc(name, odd) {
		return strconv.AppendQuote(b, name)
	}
	return append(b, name...)
}

// plain quotes s if it contains characters that cannot be printed.
func plain(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\uFFFD' || !strconv.IsPrint(r) }) {
		return s
	}
	return strconv.Quote(s)
}

// stamp appends a time.
func stamp(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339) }
