package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// printer writes datagrams to a buffer, one per line. After the first error it writes
// nothing.
type printer struct {
	out  *bufio.Writer
	json bool
	line []byte
	err  error // of the first write that failed
}

// newPrinter returns a printer for a --format.
func newPrinter(w io.Writer, format string) (*printer, error) {
	if format != "json" && format != "text" {
		return nil, command.Errorf(command.Usage, "--format %q is not text or json", format)
	}
	return &printer{out: bufio.NewWriterSize(w, 64<<10), json: format == "json"}, nil
}

// packet prints a datagram. It flushes the buffer when no other datagram is waiting, so
// that datagrams are visible at once and a burst needs few writes.
func (p *printer) packet(pk *receiver.Packet) {
	p.print(pk.Received, pk.From.String(), cmp.Or(pk.Datagram, pk.Refused), pk.Err)
	if pk.Waiting == 0 {
		p.flush()
	}
}

// print prints a datagram, or the parts that could be read and the error. At is the time
// of arrival. At and from may be empty, and d may be nil with an error.
func (p *printer) print(at time.Time, from string, d *xdr.Datagram, err error) {
	if p.err != nil {
		return
	}
	switch b := p.line[:0]; {
	case !p.json:
		p.line = appendText(b, at, from, d, err)
	case err != nil:
		p.line = xdr.AppendJSONError(b, from, d, err)
	default:
		p.line = d.AppendJSON(b, from)
	}
	p.line = append(p.line, '\n')
	_, p.err = p.out.Write(p.line)
}

func (p *printer) flush() {
	if p.err == nil {
		p.err = p.out.Flush()
	}
}

// failure returns the error to exit with if the output could not be written.
func (p *printer) failure() error { return command.StreamError(p.err) }

// appendText appends a datagram for people to read:
//
//	2023-11-14T22:13:20Z 127.0.0.1:4242 C/N x=1 status="RUNNING"
//	2023-11-14T22:13:20Z 127.0.0.1:4242 C/N x=1 truncated: parameter 2: …
//	2023-11-14T22:13:20Z 127.0.0.1:4242 refused: time: … from C/N version=2.2.20_go instance=17 seq=1
//
// The output cannot steer a terminal: all texts are quoted, and so are names with
// other than plain characters.
func appendText(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
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
