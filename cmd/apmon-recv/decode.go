package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/input"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/xdr"
)

// inputFile is the file of decode or replay, or standard input.
type inputFile struct {
	io.Reader
	empty string // the message if there is nothing in it
	close func() error
}

// openInput opens a file, or standard input if the name is "-" or empty.
func openInput(name string, stdin io.Reader) (inputFile, error) {
	if name == "" || name == "-" {
		return inputFile{stdin, "standard input is empty or closed", func() error { return nil }}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return inputFile{}, command.Errorf(command.NoInput, "%w", err)
	}
	return inputFile{f, name + " is empty", f.Close}, nil
}

// decodeCounts counts what was decoded.
type decodeCounts struct {
	unit                      string // of the items: line or packet
	items, refused, truncated int
}

// decodeFile decodes and prints the datagrams of a file.
func decodeFile(name string, port uint16, stdin io.Reader, out *printer, stderr io.Writer) error {
	in, err := openInput(name, stdin)
	if err != nil {
		return err
	}
	defer in.close()
	n, err := decode(in, port, out, stderr)
	out.flush()
	switch {
	case out.failure() != nil:
		return out.failure()
	case err != nil && n.items == 0: // a directory, a closed standard input
		return command.Errorf(command.NoInput, "%w", err)
	case err != nil:
		return command.Errorf(command.IOErr, "after %s %d: %w", n.unit, n.items, err)
	case n.refused > 0 && n.truncated > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams refused, %d truncated", n.refused, n.items, n.truncated)
	case n.refused > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams refused", n.refused, n.items)
	case n.truncated > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams truncated", n.truncated, n.items)
	case n.items == 0 && out.err == nil && n.unit == "line":
		// Go replaces a closed standard input by the null device, so it looks
		// like an empty pipe, which is not an error.
		fmt.Fprintf(stderr, "apmon-recv: nothing to decode: %s\n", in.empty)
	}
	return nil
}

// decode decodes and prints each datagram until the input ends or the output fails. After a
// capture it writes the counts of the senders.
func decode(r io.Reader, port uint16, out *printer, stderr io.Writer) (n decodeCounts, err error) {
	n.unit = "line"
	in, err := input.New(&flushing{r, out}, port)
	if err != nil {
		return n, err
	}
	n.unit = in.Unit()
	var (
		d        xdr.Datagram
		p        receiver.Packet
		accounts = receiver.NewAccounts()
	)
	for out.err == nil {
		it, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return n, err
		}
		n.items++
		p = receiver.Packet{From: it.From, Received: it.At, Raw: it.Raw}
		read := (*xdr.Datagram)(nil)
		if p.Err = it.Err; it.Err == nil {
			p.Decode(&d, nil)
			read = &d
		}
		switch {
		case errors.Is(p.Err, xdr.ErrTruncated):
			n.truncated++
		case p.Err != nil:
			n.refused++
		}
		from := ""
		if it.From.IsValid() {
			from = it.From.String()
			accounts.Count(&p)
		}
		out.print(it.At, from, read, p.Err)
	}
	out.flush()
	if c, ok := in.(*input.Capture); ok && out.err == nil {
		writeCapture(stderr, c.Stats(), port)
		if n.items > 0 {
			(&summary{accounts.Stats(), accounts.Senders()}).write(stderr, false)
		}
	}
	return n, nil
}

// writeCapture writes how many packets of a capture are datagrams, and how many are not whole.
func writeCapture(w io.Writer, s input.CaptureStats, port uint16) {
	fmt.Fprintf(w, "%d packets, %d of them to UDP port %d\n", s.Packets, s.Datagrams, port)
	if s.CutOff > 0 {
		fmt.Fprintf(w, "%d datagrams are cut off: capture whole packets (tcpdump -s 0)\n", s.CutOff)
	}
	if s.Fragments > 0 {
		fmt.Fprintf(w, "%d fragments; parts of %d packets are missing\n", s.Fragments, s.Incomplete)
	}
}

// flushing is a reader that flushes the output before it may block.
type flushing struct {
	io.Reader
	out *printer
}

func (f *flushing) Read(b []byte) (int, error) {
	f.out.flush()
	return f.Reader.Read(b)
}
