package xdr

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// AddAll adds parameters up to the first that [Param.Check] or [Encoder.Add]
// has to look at, and returns their number; the caller goes on from there:
//
//	for i := e.AddAll(params); i < len(params); i += 1 + e.AddAll(params[i+1:]) {
//		… // params[i].Check(), e.Add(&params[i])
//	}
//
// It takes half the time of adding one by one: for 50 parameters that is a
// sixth of the whole cost of sending them. Hence the pointers: each parameter
// is held against the space that is left once, and not at every write, and the
// short strings that names and states are cost no call.
func (e *Encoder) AddAll(params []Param) int {
	at := len(e.buf)
	if at > e.end {
		return 0
	}
	body := unsafe.Pointer(unsafe.SliceData(e.buf[:e.end])) // nothing is written at e.end or beyond
	n := 0
	for ; n < len(params); n++ {
		p := &params[n]
		if !plain(p.Name) {
			break
		}
		typ := at + stringSize(p.Name)
		value := typ + 4
		end := value
		switch p.typ {
		case TypeInt32:
			end += 4
		case TypeReal64:
			if p.bits&infinity != infinity {
				end += 8
			}
		case TypeString:
			if plain(p.text) {
				end += stringSize(p.text)
			}
		}
		if end == value || end > e.end {
			break
		}
		put32(unsafe.Add(body, typ-4), 0) // the padding is in the last word
		put32(unsafe.Add(body, at), uint32(len(p.Name)))
		move(unsafe.Add(body, at+4), p.Name)
		switch p.typ {
		case TypeInt32:
			put64(unsafe.Add(body, typ), uint64(TypeInt32)<<32|p.bits&math.MaxUint32)
		case TypeReal64:
			put32(unsafe.Add(body, typ), uint32(TypeReal64))
			put64(unsafe.Add(body, value), p.bits)
		case TypeString:
			put32(unsafe.Add(body, typ), uint32(TypeString))
			put32(unsafe.Add(body, end-4), 0)
			put32(unsafe.Add(body, value), uint32(len(p.text)))
			move(unsafe.Add(body, value+4), p.text)
		}
		at = end
	}
	e.buf = e.buf[:at]
	e.count += n
	return n
}

func put32(p unsafe.Pointer, v uint32) { binary.BigEndian.PutUint32((*[4]byte)(p)[:], v) }
func put64(p unsafe.Pointer, v uint64) { binary.BigEndian.PutUint64((*[8]byte)(p)[:], v) }

// move copies a string to dst.
func move(dst unsafe.Pointer, s string) {
	n := len(s)
	if n < 4 || n > 16 {
		copy(unsafe.Slice((*byte)(dst), n), s)
		return
	}
	src := unsafe.Pointer(unsafe.StringData(s))
	if n >= 8 { // two halves that may overlap
		*(*[8]byte)(dst) = *(*[8]byte)(src)
		*(*[8]byte)(unsafe.Add(dst, n-8)) = *(*[8]byte)(unsafe.Add(src, n-8))
		return
	}
	*(*[4]byte)(dst) = *(*[4]byte)(src)
	*(*[4]byte)(unsafe.Add(dst, n-4)) = *(*[4]byte)(unsafe.Add(src, n-4))
}
