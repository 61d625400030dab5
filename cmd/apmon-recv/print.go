package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/lines"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/paramunits"
	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/xdr"
)

// printFormats are the values of --format.
var printFormats = []string{"text", "json", "flat", "csv"}

// checkFormat returns an error if a format is not one of printFormats.
func checkFormat(format string) error {
	if !slices.Contains(printFormats, format) {
		return fmt.Errorf("format: %q is not text, json, flat or csv", format)
	}
	return nil
}

// printOptions say how standard output is written.
type printOptions struct {
	format string // one of printFormats
	exact  bool   // text has all digits
}

// printer writes datagrams to a buffer. After the first error it writes nothing.
type printer struct {
	out    *bufio.Writer
	append func(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte
	buf    []byte
	err    error // of the first write that failed
}

// newPrinter returns a printer to w, a writer of [command.Escape].
func newPrinter(w io.Writer, o printOptions) *printer {
	p := &printer{}
	header := ""
	switch o.format {
	case "json":
		p.append = endLine(lines.AppendJSON)
	case "flat":
		p.append = endLine(new(lines.Flat).Append)
	case "csv":
		p.append = lines.AppendCSV
		header = lines.CSVHeader
	default:
		text := readable.New(command.Unescaped(w), os.Getenv, readable.Options{Exact: o.exact, Units: paramunits.Unit})
		p.append = text.Append
		if text.Color { // the text is escaped already
			w = command.Unescaped(w)
		}
	}
	p.out = bufio.NewWriterSize(w, 64<<10)
	_, p.err = p.out.WriteString(header)
	return p
}

// endLine returns a function that appends a line end after what another one does.
func endLine(f func([]byte, time.Time, string, *xdr.Datagram, error) []byte) func([]byte, time.Time, string, *xdr.Datagram, error) []byte {
	return func(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
		return append(f(b, at, from, d, err), '\n')
	}
}

// print prints a datagram, or the parts that could be read and the error. At is the time
// of arrival. At and from may be empty, and d may be nil with an error.
func (p *printer) print(at time.Time, from string, d *xdr.Datagram, err error) {
	if p.err != nil {
		return
	}
	p.buf = p.append(p.buf[:0], at, from, d, err)
	_, p.err = p.out.Write(p.buf)
}

func (p *printer) flush() {
	if p.err == nil {
		p.err = p.out.Flush()
	}
}

// failure returns the error to exit with if the output could not be written.
func (p *printer) failure() error { return command.StreamError(p.err) }

// streamName is the name of the output that prints.
const streamName = "standard output"

// Name implements [output.Output].
func (p *printer) Name() string { return streamName }

// Run implements [output.Output]. It returns the first error of a write.
func (p *printer) Run(ctx context.Context, in *output.In) error {
	var sender lines.Sender
	p.flush() // a header
	for in.Take(ctx, 1, 0) {
		for pk := range in.Packets() {
			p.print(pk.Received, sender.Text(pk.From), cmp.Or(pk.Datagram, pk.Refused), pk.Err)
		}
		// Datagrams are visible at once, and a burst needs few writes.
		p.flush()
		if p.err != nil {
			return p.err
		}
		in.Sent(in.Len())
	}
	return nil
}
