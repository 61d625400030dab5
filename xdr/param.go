package xdr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Type is the type code of a parameter on the wire.
//
// To add a type: 1. add a code here and its name in [Type.String]; 2. encode it in
// [AppendParam] and Param.size; 3. decode it in reader.param; 4. add an accessor
// and its form in json.go.
type Type int32

// The type codes that receivers decode. There is no constant for code 1 (int16):
// the receiver drops the whole datagram if a parameter has it.
const (
	TypeString Type = 0
	TypeInt32  Type = 2
	TypeInt64  Type = 3
	TypeReal32 Type = 4
	TypeReal64 Type = 5
)

// String returns the name of the type as the JSON form uses it: string, int32,
// int64, real32, real64, or "type N" for a code that is not decoded.
func (t Type) String() string {
	switch t {
	case TypeString:
		return "string"
	case TypeInt32:
		return "int32"
	case TypeInt64:
		return "int64"
	case TypeReal32:
		return "real32"
	case TypeReal64:
		return "real64"
	}
	return fmt.Sprintf("type %d", int32(t))
}

// MaxString is the maximum length of a string in bytes. The receiver drops a
// datagram that holds a longer one.
const MaxString = 32767

// Errors of parameters and names that cannot be sent.
var (
	// ErrBadName: an empty or blank name, or one over [MaxString] bytes.
	ErrBadName = errors.New("bad name")
	// ErrBadValue: NaN or an infinity (the store discards them), an empty or
	// blank text (the receiver drops it), or a text over [MaxString] bytes.
	ErrBadValue = errors.New("bad value")
	// ErrTooLarge: a parameter that does not fit a datagram even alone.
	ErrTooLarge = errors.New("too large for a datagram")
)

// SeqModulus is the number of sequence numbers: the first one of a process is 1, and 0 follows
// 1 999 999 999.
const SeqModulus = 2_000_000_000

// Param is one parameter: a name, and a value of one of the five types. It holds no
// pointers other than those of its strings.
type Param struct {
	Name string
	text string
	bits uint64 // the number as on the wire: int32 sign-extended, real32 in the low half
	typ  Type
}

// Integer is the constraint of [Int]: any integer type.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// Int returns an integer parameter: int32 if the value fits, else real64, since the
// receiver converts every number to a double anyway. Beyond ±2^53 a double cannot
// hold every integer, and the nearest one is sent.
func Int[T Integer](name string, v T) Param {
	if n := int32(v); T(n) == v && (n < 0) == (v < 0) {
		return Param{Name: name, typ: TypeInt32, bits: uint64(n)}
	}
	return Param{Name: name, typ: TypeReal64, bits: math.Float64bits(float64(v))}
}

// Float returns a real64 parameter. [Param.Check] refuses NaN and infinities, since
// the receiver's store discards them.
func Float(name string, v float64) Param {
	return Param{Name: name, typ: TypeReal64, bits: math.Float64bits(v)}
}

// String returns a text parameter. The receiver removes bytes up to 0x20 from both
// ends and drops the parameter if nothing is left.
func String(name, v string) Param {
	return Param{Name: name, typ: TypeString, text: v}
}

// Int64 returns a parameter of wire type int64, which no client sends (use [Int]).
// It lets tools write every type that a receiver reads.
func Int64(name string, v int64) Param {
	return Param{Name: name, typ: TypeInt64, bits: uint64(v)}
}

// Real32 returns a parameter of wire type real32, which only old C and C++
// clients send (use [Float]).
func Real32(name string, v float32) Param {
	return Param{Name: name, typ: TypeReal32, bits: uint64(math.Float32bits(v))}
}

// Type returns the parameter's type on the wire.
func (p *Param) Type() Type { return p.typ }

// Text returns the value of a text parameter, "" for a number.
func (p *Param) Text() string { return p.text }

// Int returns the value of an int32 or int64 parameter, 0 for the others.
func (p *Param) Int() int64 {
	if p.typ == TypeInt32 || p.typ == TypeInt64 {
		return int64(p.bits)
	}
	return 0
}

// Float returns the value of a number as a double, as the receiver reads it, and 0
// for a text.
func (p *Param) Float() float64 {
	switch p.typ {
	case TypeInt32, TypeInt64:
		return float64(int64(p.bits))
	case TypeReal32:
		return float64(math.Float32frombits(uint32(p.bits)))
	case TypeReal64:
		return math.Float64frombits(p.bits)
	}
	return 0
}

// Check returns an error if a receiver would not store the parameter. The error
// wraps [ErrBadName] or [ErrBadValue] and names the parameter.
func (p *Param) Check() error {
	if plain(p.Name) {
		switch p.typ {
		case TypeInt32, TypeInt64:
			return nil
		case TypeReal64:
			if p.bits&infinity != infinity {
				return nil
			}
		case TypeString:
			if plain(p.text) {
				return nil
			}
		}
	}
	return p.check()
}

// infinity holds the exponent bits of a real64 that is infinite or NaN.
const infinity = 0x7ff << 52

// plain reports whether a string can be sent and begins with a visible byte, as
// nearly all do. Other strings take the slow path of [blank].
func plain(s string) bool { return uint(len(s))-1 < MaxString && s[0] > ' ' }

// check is the slow path of Check.
func (p *Param) check() error {
	if err := CheckName(p.Name); err != nil {
		return fmt.Errorf("parameter %s: %w", safetext.Quote(p.Name), err)
	}
	switch p.typ {
	case TypeString:
		if len(p.text) > MaxString {
			return fmt.Errorf("parameter %s: %w: text of %d bytes, a datagram has at most %d", safetext.Quote(p.Name), ErrBadValue, len(p.text), MaxLimit)
		}
		if blank(p.text) {
			return fmt.Errorf("parameter %s: %w: empty or blank text", safetext.Quote(p.Name), ErrBadValue)
		}
	case TypeReal32, TypeReal64:
		if v := p.Float(); v-v != 0 { // NaN for NaN and infinities alike
			return fmt.Errorf("parameter %s: %w: %v", safetext.Quote(p.Name), ErrBadValue, v)
		}
	}
	return nil
}

// CheckName returns an error if a name (of a parameter, a cluster or a node) cannot
// be sent; it wraps [ErrBadName]. A blank name counts as empty, since receivers
// trim strings. All other characters are allowed: consumers rely on spaces, '?',
// '/' and suffixes such as "_Jobs".
func CheckName(name string) error {
	if plain(name) {
		return nil
	}
	return checkName(name)
}

// checkName is the slow path of CheckName.
func checkName(name string) error {
	if len(name) > MaxString {
		return fmt.Errorf("%w: %d bytes, a datagram has at most %d", ErrBadName, len(name), MaxLimit)
	}
	if blank(name) {
		return fmt.Errorf("%w: empty or blank", ErrBadName)
	}
	return nil
}

// blank reports whether s is empty after the receiver trims it: Java's String.trim
// removes every byte up to a space from both ends.
func blank(s string) bool {
	for i := range len(s) {
		if s[i] > ' ' {
			return false
		}
	}
	return true
}

// AppendParam appends the encoded parameter and returns the extended buffer. It does
// not check the parameter: see [Param.Check].
func AppendParam(b []byte, p *Param) []byte {
	b = appendString(b, p.Name)
	switch p.typ {
	case TypeInt32, TypeReal32: // type and value at once: most parameters are integers
		return binary.BigEndian.AppendUint64(b, uint64(p.typ)<<32|p.bits&math.MaxUint32)
	case TypeInt64, TypeReal64:
		b = binary.BigEndian.AppendUint32(b, uint32(p.typ))
		return binary.BigEndian.AppendUint64(b, p.bits)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(p.typ))
	return appendString(b, p.text)
}

// appendString appends length, bytes and padding.
func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	b = append(b, s...)
	return append(b, 0, 0, 0, 0)[:len(b)+-len(s)&3]
}

// size returns the encoded length of the parameter in bytes.
func (p *Param) size() int {
	n := stringSize(p.Name) + 4
	switch p.typ {
	case TypeInt32, TypeReal32:
		return n + 4
	case TypeInt64, TypeReal64:
		return n + 8
	}
	return n + stringSize(p.text)
}

// stringSize returns the encoded length of a string in bytes.
func stringSize(s string) int { return 4 + (len(s)+3)&^3 }
