package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/xdr"
)

const (
	// maxBytes is the length of the longest datagram that UDP can carry.
	maxBytes = 65535
	// maxLine leaves some room for blanks around the digits.
	maxLine = 2*maxBytes + 256
)

// decodeFile decodes the hex lines of a file, or of standard input if the name is "-"
// or empty.
func decodeFile(name string, stdin io.Reader, out *printer, stderr io.Writer) error {
	in, source := stdin, "standard input is empty or closed"
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return command.Errorf(command.NoInput, "%w", err)
		}
		defer f.Close()
		in, source = f, name+" is empty"
	}
	lines, refused, truncated, err := decode(in, out)
	out.flush()
	switch {
	case out.failure() != nil:
		return out.failure()
	case err != nil && lines == 0: // a directory, a closed standard input
		return command.Errorf(command.NoInput, "%w", err)
	case err != nil:
		return command.Errorf(command.IOErr, "after line %d: %w", lines, err)
	case refused > 0 && truncated > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams refused, %d truncated", refused, lines, truncated)
	case refused > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams refused", refused, lines)
	case truncated > 0:
		return command.Errorf(command.DataErr, "%d of %d datagrams truncated", truncated, lines)
	case lines == 0 && out.err == nil:
		// Go replaces a closed standard input by the null device, so it looks
		// like an empty pipe, which is not an error.
		fmt.Fprintf(stderr, "apmon-recv: nothing to decode: %s\n", source)
	}
	return nil
}

// decode decodes and prints each line until the input ends or the output fails. It
// returns the number of lines, and how many were refused and truncated.
func decode(r io.Reader, out *printer) (lines, refused, truncated int, err error) {
	var (
		in   = bufio.NewReaderSize(&flushing{r, out}, 64<<10)
		line []byte
		d    xdr.Datagram
	)
	for out.err == nil {
		var length int
		line, length, err = readLine(in, line)
		if err == io.EOF && length == 0 {
			return lines, refused, truncated, nil
		}
		if err != nil && err != io.EOF {
			return lines, refused, truncated, err
		}
		lines++
		b, bad := unhex(line, length)
		read := (*xdr.Datagram)(nil)
		if bad == nil {
			read, bad = &d, d.Decode(b)
		}
		switch {
		case errors.Is(bad, xdr.ErrTruncated):
			truncated++
		case bad != nil:
			refused++
		}
		out.print(time.Time{}, "", read, bad)
	}
	return lines, refused, truncated, nil
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

// readLine reads a line into buf, with its line end, and returns its length in bytes.
// It keeps only the beginning of a line longer than maxLine.
func readLine(in *bufio.Reader, buf []byte) (line []byte, length int, err error) {
	line = buf[:0]
	for {
		part, err := in.ReadSlice('\n')
		length += len(part)
		line = append(line, part[:min(len(part), maxLine-len(line))]...)
		if err != bufio.ErrBufferFull {
			return line, length, err
		}
	}
}

// unhex decodes a line in place. Its errors have the form of those of the datagram,
// with the offset of the byte that cannot be decoded.
func unhex(line []byte, length int) ([]byte, error) {
	if length > len(line) {
		return nil, &xdr.DecodeError{Field: "line", Offset: maxBytes,
			Err: fmt.Errorf("%w: %d characters, but a datagram has at most %d bytes", xdr.ErrLength, length, maxBytes)}
	}
	digits := bytes.TrimLeft(line, " \t")
	indent := len(line) - len(digits)
	digits = bytes.TrimRight(digits, " \t\r\n")
	for i, c := range digits {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' {
			continue
		}
		what := fmt.Sprintf("byte %#02x", c)
		if r, _ := utf8.DecodeRune(digits[i:]); r != utf8.RuneError {
			what = fmt.Sprintf("%q", r)
		}
		return nil, &xdr.DecodeError{Field: "hex", Offset: i / 2,
			Err: fmt.Errorf("%w: %s in column %d", errDigit, what, indent+i+1)}
	}
	if len(digits)%2 != 0 {
		return nil, &xdr.DecodeError{Field: "hex", Offset: len(digits) / 2, Err: errHalf}
	}
	n, err := hex.Decode(line, digits)
	return line[:n], err
}

var (
	errDigit = errors.New("not a hex digit")
	errHalf  = errors.New("the last byte has only one digit")
)
