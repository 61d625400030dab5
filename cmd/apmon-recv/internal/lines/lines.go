// Package lines writes received datagrams as lines for programs: JSON, which `apmon-recv
// replay` reads, JSON with names as keys, and CSV.
package lines

import (
	"errors"
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
	return appendReceived(b, at)
}

// appendReceived adds the time of arrival to a JSON object, if there is one.
func appendReceived(b []byte, at time.Time) []byte {
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

// Flat writes datagrams as JSON objects with parameters as members. It is not safe for
// concurrent use.
type Flat struct {
	last map[string]int // the last parameter of each name
	tail []byte
}

// Append appends a datagram as [AppendJSON] does, but the parameters are one object:
//
//	{"from":"127.0.0.1:4242",…,"params":{"x":1,"status":"RUNNING"},"received":1763735000.123456}
//
// Of parameters with the same name the last one is shown. Types are not shown: a text is a
// string, a number is a number.
func (f *Flat) Append(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
	if d == nil || err != nil && !errors.Is(err, xdr.ErrTruncated) {
		return AppendJSON(b, at, from, d, err)
	}
	if f.last == nil {
		f.last = make(map[string]int)
	}
	defer clear(f.last) // the names belong to the datagram
	for i := range d.Params {
		f.last[d.Params[i].Name] = i
	}
	const empty = "[]}"
	head := *d
	head.Params = nil
	start := len(b)
	b = head.AppendJSON(b, from)
	end := len(b) - start // of the part that a truncated one begins with, but for the "}"
	b = append(b[:len(b)-len(empty)], '{')
	for i := range d.Params {
		p := &d.Params[i]
		if f.last[p.Name] != i {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(safetext.AppendJSON(b, p.Name), ':')
		switch p.Type() {
		case xdr.TypeString:
			b = safetext.AppendJSON(b, p.Text())
		case xdr.TypeInt32, xdr.TypeInt64:
			b = strconv.AppendInt(b, p.Int(), 10)
		default:
			b = safetext.AppendJSONFloat(b, p.Float())
		}
	}
	b = append(b, '}')
	if err != nil {
		f.tail = xdr.AppendJSONError(f.tail[:0], from, &head, err)
		b = append(b, f.tail[end-1:]...)
	} else {
		b = append(b, '}')
	}
	return appendReceived(b, at)
}

// CSVHeader is the first line of CSV, with its line end.
const CSVHeader = "received,time,from,cluster,node,param,type,value,error\n"

// AppendCSV appends a line of CSV (RFC 4180, but with LF as line end) for each parameter of a
// datagram, and one for a datagram without any. Times are in UTC, numbers have all digits. A
// datagram that is refused or truncated has a line more, with the reason. D may be nil with
// an error.
//
// A text that a spreadsheet would take for a formula, which begins with =, +, -, @, a tab or
// a line end, has an apostrophe in front.
func AppendCSV(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
	start := len(b)
	if !at.IsZero() {
		b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	}
	b = append(b, ',')
	if d != nil && d.Timed && d.Time > 0 && (err == nil || errors.Is(err, xdr.ErrTruncated)) {
		b = time.Unix(int64(d.Time), 0).UTC().AppendFormat(b, time.RFC3339)
	}
	b = append(b, ',')
	b = appendField(b, from)
	b = append(b, ',')
	var cluster, node string
	var params []xdr.Param
	if d != nil {
		cluster, node, params = d.Cluster, d.Node, d.Params
	}
	if err != nil && !errors.Is(err, xdr.ErrTruncated) {
		params = nil
	}
	b = append(appendField(b, cluster), ',')
	b = append(appendField(b, node), ',')
	head := b[start:len(b):len(b)] // the same in each line
	first := true
	line := func() {
		if !first {
			b = append(b, head...)
		}
		first = false
	}
	for i := range params {
		line()
		p := &params[i]
		b = append(appendField(b, p.Name), ',')
		b = append(append(b, p.Type().String()...), ',')
		switch p.Type() {
		case xdr.TypeString:
			b = appendField(b, p.Text())
		case xdr.TypeInt32, xdr.TypeInt64:
			b = strconv.AppendInt(b, p.Int(), 10)
		default:
			b = safetext.AppendFloat(b, p.Float())
		}
		b = append(b, ",\n"...)
	}
	if err == nil && len(params) > 0 {
		return b
	}
	line()
	b = append(b, ",,,"...)
	if err != nil {
		b = appendField(b, err.Error())
	}
	return append(b, '\n')
}

// appendField appends a text as a field of CSV.
func appendField(b []byte, s string) []byte {
	formula := s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0]))
	if !formula && !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	if formula {
		b = append(b, '\'')
	}
	for {
		before, after, found := strings.Cut(s, `"`)
		b = append(b, before...)
		if !found {
			return append(b, '"')
		}
		b = append(b, `""`...)
		s = after
	}
}
