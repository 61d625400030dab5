// Package input reads datagrams from files: lines of hexadecimal digits, the JSON lines that
// apmon-recv writes, and captures of tcpdump (pcap and pcapng), each also compressed with
// gzip or zstd. The first bytes decide which of them it is; hexadecimal and JSON lines may
// be mixed.
package input

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Item is one datagram of a file.
type Item struct {
	// At is when it arrived; zero if the file does not say.
	At time.Time
	// From is the address of the sender; the zero value if the file does not say.
	From netip.AddrPort
	// Raw is the datagram, valid until the next call of Next. If Err is not nil, it is nil.
	Raw []byte
	// Err is why there is no datagram: a line that is none, a packet that was cut off, or
	// a line on a datagram that was refused when it was recorded.
	Err error
}

// Reader reads the datagrams of a file.
type Reader interface {
	// Next returns the next datagram. The error is io.EOF at the end of the file, and
	// another one if it cannot be read further.
	Next() (Item, error)
	// Unit is what an item is in the file: "line" or "packet".
	Unit() string
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// New returns a reader of r. Only packets to or from UDP port count in a capture; with port
// 0 all that are ApMon datagrams do.
func New(r io.Reader, port uint16) (Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for range 2 { // a compressed file may have been compressed once more, but not without end
		head, err := in.Peek(4)
		if len(head) == 0 && err != io.EOF {
			return nil, err
		}
		var plain io.Reader
		switch {
		case bytes.HasPrefix(head, gzipMagic):
			plain, err = gzip.NewReader(in)
		case bytes.HasPrefix(head, zstdMagic):
			// The window of a hostile file is bounded.
			plain, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		case isCapture(head):
			return newCapture(in, head, port)
		default:
			return &lineReader{in: in}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("compressed file: %w", err)
		}
		in = bufio.NewReaderSize(plain, 64<<10)
	}
	return &lineReader{in: in}, nil
}
