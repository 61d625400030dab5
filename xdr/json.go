package xdr

import (
	"errors"
	"strconv"

	"github.com/apmon-go/apmon/internal/safetext"
)

// AppendJSON appends the datagram as one JSON object on one line, without a line
// end, and returns the extended buffer. All commands of this project print
// datagrams in this form:
//
//	{"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,
//	 "cluster":"C","node":"N","time":1700000000,
//	 "params":[{"name":"x","type":"int32","value":1}]}
//
// An empty from is null. So are the time of a datagram without one, and instance
// and seq before version 2.2. A real32 is printed as the double it converts to; NaN
// and infinities are the strings "NaN", "+Inf" and "-Inf"; each byte that is not
// UTF-8 becomes U+FFFD. The password is never printed.
func (d *Datagram) AppendJSON(b []byte, from string) []byte {
	b = append(b, `{"from":`...)
	b = appendFrom(b, from)
	b = append(b, `,"version":`...)
	b = safetext.AppendJSON(b, d.Version)
	if d.Sequenced() {
		b = d.appendSequence(b)
	} else {
		b = append(b, `,"instance":null,"seq":null`...)
	}
	b = append(b, `,"cluster":`...)
	b = safetext.AppendJSON(b, d.Cluster)
	b = append(b, `,"node":`...)
	b = safetext.AppendJSON(b, d.Node)
	b = append(b, `,"time":`...)
	if d.Timed {
		b = strconv.AppendInt(b, int64(d.Time), 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"params":[`...)
	for i := range d.Params {
		if i > 0 {
			b = append(b, ',')
		}
		p := &d.Params[i]
		b = append(b, `{"name":`...)
		b = safetext.AppendJSON(b, p.Name)
		b = append(b, `,"type":"`...)
		b = append(b, p.typ.String()...)
		b = append(b, `","value":`...)
		switch p.typ {
		case TypeString:
			b = safetext.AppendJSON(b, p.text)
		case TypeInt32, TypeInt64:
			b = strconv.AppendInt(b, p.Int(), 10)
		default:
			b = safetext.AppendJSONFloat(b, p.Float())
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// AppendJSONError appends a datagram for which [Datagram.Decode] returned an error.
// A refused datagram is shown with header, cluster and node as far as they were
// read:
//
//	{"from":"127.0.0.1:4242","error":"node: …","offset":12,
//	 "version":"2.2.20_go","instance":17,"seq":1,"cluster":"C"}
//
// A truncated datagram, see [ErrTruncated], has the form of [Datagram.AppendJSON]
// followed by the error:
//
//	…,"params":[{"name":"x","type":"int32","value":1}],
//	 "error":"parameter 2: …","offset":56,"truncated":true}
//
// The offset is that of a [DecodeError], or null. The datagram may be nil.
func AppendJSONError(b []byte, from string, d *Datagram, err error) []byte {
	if d != nil && errors.Is(err, ErrTruncated) {
		b = d.AppendJSON(b, from)
		b = appendError(b[:len(b)-1], err)
		return append(b, `,"truncated":true}`...)
	}
	b = append(b, `{"from":`...)
	b = appendFrom(b, from)
	b = appendError(b, err)
	if d == nil {
		return append(b, '}')
	}
	if d.Version != "" {
		b = append(b, `,"version":`...)
		b = safetext.AppendJSON(b, d.Version)
		if d.Sequenced() {
			b = d.appendSequence(b)
		}
	}
	if d.Cluster != "" {
		b = append(b, `,"cluster":`...)
		b = safetext.AppendJSON(b, d.Cluster)
	}
	if d.Node != "" {
		b = append(b, `,"node":`...)
		b = safetext.AppendJSON(b, d.Node)
	}
	return append(b, '}')
}

func (d *Datagram) appendSequence(b []byte) []byte {
	b = append(b, `,"instance":`...)
	b = strconv.AppendInt(b, int64(d.Instance), 10)
	b = append(b, `,"seq":`...)
	return strconv.AppendInt(b, int64(d.Seq), 10)
}

func appendError(b []byte, err error) []byte {
	b = append(b, `,"error":`...)
	b = safetext.AppendJSON(b, err.Error())
	b = append(b, `,"offset":`...)
	if e, ok := errors.AsType[*DecodeError](err); ok {
		return strconv.AppendInt(b, int64(e.Offset), 10)
	}
	return append(b, "null"...)
}

func appendFrom(b []byte, from string) []byte {
	if from == "" {
		return append(b, "null"...)
	}
	return safetext.AppendJSON(b, from)
}
