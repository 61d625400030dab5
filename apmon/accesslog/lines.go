package accesslog

import (
	"bytes"
	"io"
)

// maxLine is the length in bytes of the longest line that is read.
const maxLine = 64 << 10

// lines cuts what is read into lines. One that is too long is a bad one; no
// more than its beginning is kept.
type lines struct {
	l    *Log
	buf  []byte // of maxLine+1
	n    int    // bytes of a line whose end has not been read
	skip bool   // until the end of a line that is no good
}

func newLines(l *Log) *lines { return &lines{l: l, buf: make([]byte, maxLine+1)} }

// read reads once, and takes the lines that are whole.
func (s *lines) read(r io.Reader) (int, error) {
	n, err := r.Read(s.buf[s.n:])
	if n > 0 {
		s.take(n)
	}
	return n, err
}

// take takes the lines among n more bytes in the buffer.
func (s *lines) take(n int) {
	l := s.l
	l.mu.Lock()
	l.advance()
	b := s.buf[:s.n+n]
	from := s.n // where to look for the end
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

// end ends the last line: it is taken if whole says that there is nothing more
// of it, else it is a bad one.
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
