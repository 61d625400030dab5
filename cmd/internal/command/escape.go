package command

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// Escape returns a writer whose output cannot steer a terminal. Control characters
// other than line end and tab, and characters that change the direction of text,
// become \u001b, which is also valid within JSON; bytes that are not UTF-8 become
// \x9b. A character may be split between two writes. All output of the commands
// goes through such a writer, so messages need no escaping of their own.
func Escape(w io.Writer) io.Writer { return &escaper{w: w} }

// Unescaped returns the writer that [Escape] was called with, or w if it is another one. It
// is for colours of texts that are escaped already, and to ask whether w is a terminal.
func Unescaped(w io.Writer) io.Writer {
	if e, ok := w.(*escaper); ok {
		return e.w
	}
	return w
}

type escaper struct {
	w    io.Writer
	rest []byte // the incomplete character at the end of the last write
	buf  []byte
}

func (e *escaper) Write(b []byte) (int, error) {
	if len(e.rest) == 0 && plain(b) == len(b) {
		return e.w.Write(b)
	}
	out, in := e.buf[:0], b
	if len(e.rest) > 0 {
		in = append(e.rest, b...)
		e.rest = nil
	}
	for len(in) > 0 {
		if n := plain(in); n > 0 {
			out, in = append(out, in[:n]...), in[n:]
			continue
		}
		r, n := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && n == 1:
			if !utf8.FullRune(in) {
				e.rest = append([]byte(nil), in...)
				n = len(in)
				break
			}
			out = fmt.Appendf(out, `\x%02x`, in[0])
		case r == '\n' || r == '\t' || !unicode.In(r, unicode.Cc, unicode.Bidi_Control) && r != '\u2028' && r != '\u2029':
			out = append(out, in[:n]...)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		in = in[n:]
	}
	e.buf = out[:0]
	if _, err := e.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// plain returns the number of bytes at the beginning of b that are printable
// ASCII, line ends or tabs. Nearly all output consists of them.
func plain(b []byte) int {
	for i := 0; i < len(b); {
		// Eight bytes at a time: the high bit of a byte is set if it is below ' ', above
		// '~', or next to such a byte.
		for len(b)-i >= 8 {
			const ones, high = 0x0101010101010101, 0x8080808080808080
			w := binary.LittleEndian.Uint64(b[i:])
			if (w|(w-ones*' ')|(w+ones))&high != 0 {
				break
			}
			i += 8
		}
		for end := min(i+8, len(b)); i < end; i++ {
			if c := b[i]; (c < ' ' || c > '~') && c != '\n' && c != '\t' {
				return i
			}
		}
	}
	return len(b)
}
