package main

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/lines"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/internal/command"
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

// print prints a datagram, or the parts that could be read and the error. At is the time
// of arrival. At and from may be empty, and d may be nil with an error.
func (p *printer) print(at time.Time, from string, d *xdr.Datagram, err error) {
	if p.err != nil {
		return
	}
	if p.json {
		p.line = lines.AppendJSON(p.line[:0], at, from, d, err)
	} else {
		p.line = lines.AppendText(p.line[:0], at, from, d, err)
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

// streamName is the name of the output that prints.
const streamName = "standard output"

// Name implements [output.Output].
func (p *printer) Name() string { return streamName }

// Run implements [output.Output]. It returns the first error of a write.
func (p *printer) Run(ctx context.Context, in *output.In) error {
	var sender lines.Sender
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
