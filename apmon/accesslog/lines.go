package accesslog

import (
	"bytes"
	"io"
)

// maxLine is the length in bytes of the longest line that is read.
const maxLine = 64 << 10

// lines splits the input into lines. A line that is too long is bad; only its beginning
// is kept.
type lines struct {
	l    *Log
	buf  []byte // of maxLine+1
	n    int    // bytes of an incomplete line
	skip bool   // skip until the end of a bad line
}

func newLines(l *Log) *lines { return &lines{l: l, buf: make([]byte, maxLine+1)} }

// read reads once, and counts the complete lines.
func (s *lines) read(r io.Reader) (int, error) {
	n, err := r.Read(s.buf[s.n:])
	if n > 0 {
		s.take(n)
	}
	return n, err
}

// take counts the complete lines after n more bytes in the buffer.
func (s *lines) take(n int) {
	l := s.l
	l.mu.Lock()
	l.advance()
	b := s.buf[:s.n+n]
	from := s.n // where to search for the end
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			break
		}
		if s.skip {
			s.skip = false
		} else {
			l.line(b[:from+i])
		}
		b, from = b[from+i+1:], 0
	}
	switch {
	case s.skip:
		s.n = 0
	case len(b) == len(s.buf):
		l.reject(errLong)
		s.n, s.skip = 0, true
	default:
		s.n = copy(s.buf, b)
	}
	l.unlock()
}

// end ends the last line, which is bad unless whole is true.
func (s *lines) end(whole bool) {
	l := s.l
	l.mu.Lock()
	switch {
	case s.n == 0:
	case whole:
		l.line(s.buf[:s.n])
	default:
		l.reject(errCut)
	}
	s.n, s.skip = 0, false
	l.unlock()
}
