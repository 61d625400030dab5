package accesslog

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// The fields of a JSON line that are used.
const (
	fieldClient = iota
	fieldAgent
	fieldURL
	fieldStatus
	fieldTime
	fieldBytes
	fieldRequestTime
	fieldRequestMicros
	fieldUpstreamTime
	fields
)

// field returns the field of a name, −1 for none.
func field(name []byte) int {
	switch string(name) {
	case "client":
		return fieldClient
	case "ua":
		return fieldAgent
	case "url":
		return fieldURL
	case "status":
		return fieldStatus
	case "time":
		return fieldTime
	case "bytes-sent":
		return fieldBytes
	case "request_time", "duration":
		return fieldRequestTime
	case "request_time_us":
		return fieldRequestMicros
	case "upstream_response_time":
		return fieldUpstreamTime
	}
	return -1
}

// value is a JSON value: an unescaped text, which may be invalid UTF-8, or a number as
// in the line.
type value struct {
	kind kind
	b    []byte
}

type kind uint8

const (
	absent kind = iota // or null
	text
	number
	other
)

// digits returns the text of a number, quoted or not; nil if absent.
func (v *value) digits() []byte {
	switch v.kind {
	case text, number:
		return v.b
	case other:
		return []byte("?")
	}
	return nil
}

// maxDepth limits the recursion into skipped values.
const maxDepth = 100

// scanner parses the JSON object of a line and keeps the used fields; of several fields
// with one name it keeps the last. It accepts the same lines as encoding/json (apart from the depth, and
// names are case-sensitive) in a tenth of the time.
type scanner struct {
	b       []byte
	i       int // the position in b
	fields  [fields]value
	scratch []byte // unescaped texts
}

// line parses the whole line.
func (s *scanner) line() error {
	if s.next() != '{' {
		return errJSON
	}
	if err := s.object(0); err != nil {
		return err
	}
	if s.next(); s.i < len(s.b) {
		return errJSON
	}
	return nil
}

// next skips white space and returns the byte after it, 0 at the end.
func (s *scanner) next() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// object parses an object from its brace. The object of the line has depth 0.
func (s *scanner) object(depth int) error {
	if depth >= maxDepth {
		return errDepth
	}
	s.i++
	if s.next() == '}' {
		s.i++
		return nil
	}
	for {
		if s.next() != '"' {
			return errJSON
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		f := -1
		if depth == 0 {
			f = field(name)
		}
		if s.next() != ':' {
			return errJSON
		}
		s.i++
		v, err := s.value(depth)
		if err != nil {
			return err
		}
		if f >= 0 {
			s.fields[f] = v
		}
		switch s.next() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return errJSON
		}
	}
}

// array parses an array from its bracket.
func (s *scanner) array(depth int) error {
	if depth >= maxDepth {
		return errDepth
	}
	s.i++
	if s.next() == ']' {
		s.i++
		return nil
	}
	for {
		if _, err := s.value(depth); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return errJSON
		}
	}
}

// value parses any value.
func (s *scanner) value(depth int) (value, error) {
	switch c := s.next(); c {
	case '"':
		b, err := s.text()
		return value{text, b}, err
	case '{':
		return value{kind: other}, s.object(depth + 1)
	case '[':
		return value{kind: other}, s.array(depth + 1)
	case 't':
		return value{kind: other}, s.word("true")
	case 'f':
		return value{kind: other}, s.word("false")
	case 'n':
		return value{}, s.word("null")
	default:
		b, err := s.number()
		return value{number, b}, err
	}
}

func (s *scanner) word(w string) error {
	if end := s.i + len(w); end <= len(s.b) && string(s.b[s.i:end]) == w {
		s.i = end
		return nil
	}
	return errJSON
}

// number parses -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?.
func (s *scanner) number() ([]byte, error) {
	start := s.i
	if s.is('-') {
		s.i++
	}
	if s.is('0') {
		s.i++
	} else if !s.digits() {
		return nil, errJSON
	}
	if s.is('.') {
		if s.i++; !s.digits() {
			return nil, errJSON
		}
	}
	if s.is('e') || s.is('E') {
		s.i++
		if s.is('+') || s.is('-') {
			s.i++
		}
		if !s.digits() {
			return nil, errJSON
		}
	}
	return s.b[start:s.i], nil
}

// is reports whether c is the next byte.
func (s *scanner) is(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits skips digits, and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// text parses a text from its quotation mark.
func (s *scanner) text() ([]byte, error) {
	s.i++
	start := s.i
	if s.i = special(s.b, start); s.i == len(s.b) {
		return nil, errJSON
	}
	switch s.b[s.i] {
	case '"':
		s.i++
		return s.b[start : s.i-1], nil
	case '\\':
		return s.escaped(start)
	}
	return nil, errJSON
}

// special returns the index from i on of the first quotation mark, backslash or control
// character; len(b) for none. It looks at eight bytes at a time, since most bytes of a
// log are in long texts.
func special(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// A byte of x − ones·n has its high bit set, and that of x has not, if the
		// byte is less than n. A borrow disturbs only bytes after such a byte.
		quotes, slashes := x^ones*'"', x^ones*'\\'
		found := ((quotes-ones)&^quotes | (slashes-ones)&^slashes | (x-ones*' ')&^x) & high
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return i
}

// escaped parses the rest of a text from its first escape.
func (s *scanner) escaped(start int) ([]byte, error) {
	from := len(s.scratch)
	s.scratch = append(s.scratch, s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return s.scratch[from:], nil
		case c < ' ':
			return nil, errJSON
		case c != '\\':
			s.scratch = append(s.scratch, c)
			continue
		case s.i == len(s.b):
			return nil, errJSON
		}
		c = s.b[s.i]
		s.i++
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, ok := s.unit()
			if !ok {
				return nil, errJSON
			}
			s.i += 4
			if utf16.IsSurrogate(r) {
				// Without a second half the first is invalid.
				second := rune(-1)
				if s.is('\\') && s.i+1 < len(s.b) && s.b[s.i+1] == 'u' {
					s.i += 2
					if second, ok = s.unit(); !ok {
						return nil, errJSON
					}
					s.i -= 2
				}
				if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
					s.i += 6
				}
			}
			s.scratch = utf8.AppendRune(s.scratch, r)
			continue
		default:
			return nil, errJSON
		}
		s.scratch = append(s.scratch, c)
	}
	return nil, errJSON
}

// unit returns the value of the next four digits, without skipping them.
func (s *scanner) unit() (rune, bool) {
	if s.i+4 > len(s.b) {
		return 0, false
	}
	return hex(s.b[s.i : s.i+4])
}
