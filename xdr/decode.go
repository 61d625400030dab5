package xdr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Reasons to refuse a datagram, which a [DecodeError] wraps.
var (
	ErrShort    = errors.New("the datagram ends too early")
	ErrLength   = errors.New("impossible length")
	ErrVersion  = errors.New("version is not numeric")
	ErrCount    = errors.New("impossible number of parameters")
	ErrType     = errors.New("unknown type")
	ErrTrailing = errors.New("bytes after the parameters that are not a time")
	// ErrTruncated: the datagram ends after a complete parameter and holds fewer
	// parameters than it declares. MonALISA accepts those that are there, see
	// [Datagram.Decode].
	ErrTruncated = errors.New("the datagram ends after a complete parameter")
)

// DecodeError reports which field of a datagram could not be read, and where.
type DecodeError struct {
	Field  string // "header", "node", "parameter 3 value", …
	Offset int    // of that field, in bytes from the start
	Err    error  // wraps one of the Err… values of this package
}

func (e *DecodeError) Error() string {
	return e.Field + ": " + e.Err.Error() + " (offset " + strconv.Itoa(e.Offset) + ")"
}

func (e *DecodeError) Unwrap() error { return e.Err }

// smallest is the size of the smallest parameter in bytes: two empty strings and a
// type.
const smallest = 12

// Datagram is one decoded datagram.
type Datagram struct {
	// Version is that of the header, such as "2.2.20_go". It is empty for the
	// oldest clients, whose datagrams have no header.
	Version string
	// Password is that of the header; empty for none.
	Password string
	// Instance identifies the sending process, and Seq numbers its datagrams.
	// They exist from version 2.2 on, see [Datagram.Sequenced].
	Instance, Seq int32
	Cluster, Node string
	Params        []Param
	// Time is in seconds since the Epoch, and valid if Timed. A receiver reads a
	// time below 1 as "now".
	Time  int32
	Timed bool
}

// Sequenced reports whether the datagram carries instance id and sequence
// number: version 2.2 or higher.
func (d *Datagram) Sequenced() bool {
	ok, err := sequenced(d.Version)
	return ok && err == nil
}

// Parse decodes a datagram into a copy: the result does not refer to b. If the error
// is [ErrTruncated], Parse returns it with the datagram; with any other error the
// datagram is nil.
func Parse(b []byte) (*Datagram, error) {
	d := new(Datagram)
	err := d.decode(string(b)) // one copy serves all strings
	if err != nil && !errors.Is(err, ErrTruncated) {
		return nil, err
	}
	return d, err
}

// Decode decodes b into d. The strings of d refer to b, and d.Params is reused, so d
// is valid until b changes or d is decoded again. See [Parse] for a copy.
//
// An error is always a [*DecodeError]. If it is [ErrTruncated], d holds all complete
// parameters, at least one, and no time. With any other error d holds no
// parameters; header, cluster and node are set as far as they were read. The header
// (version, password, instance id and sequence number) is set as a whole or not at
// all.
//
// Decode accepts the header "v:VERSIONp:PASSWORD", with instance id and sequence
// number from version 2.2 on; datagrams without a header; types 0, 2, 3, 4 and 5;
// and nothing or a time after the parameters. It skips padding without checking
// it.
func (d *Datagram) Decode(b []byte) error {
	return d.decode(unsafe.String(unsafe.SliceData(b), len(b)))
}

func (d *Datagram) decode(s string) error {
	// Keep the capacity of Params, else hostile counts would allocate it each
	// time.
	*d = Datagram{Params: d.Params[:0]}
	r := reader{s: s}
	if !r.datagram(d) {
		if !errors.Is(r.err, ErrTruncated) {
			d.Params = d.Params[:0]
		}
		return r.err
	}
	return nil
}

// reader reads the fields of a datagram in order. Its methods return false after
// they set err.
type reader struct {
	s   string
	off int
	err error
}

func (r *reader) datagram(d *Datagram) bool {
	head, ok := r.str("header")
	if !ok {
		return false
	}
	version, password, ok := cutHeader(head)
	if !ok {
		d.Cluster = head // the oldest clients begin with the cluster
	} else {
		seq, err := sequenced(version)
		if err != nil {
			return r.fail("header", 0, err)
		}
		var instance, number int32
		if seq {
			if instance, ok = r.int32("instance id"); !ok {
				return false
			}
			if number, ok = r.int32("sequence number"); !ok {
				return false
			}
		}
		d.Version, d.Password, d.Instance, d.Seq = version, password, instance, number
		if d.Cluster, ok = r.str("cluster"); !ok {
			return false
		}
	}
	if d.Node, ok = r.str("node"); !ok {
		return false
	}
	start := r.off
	count, ok := r.int32("parameter count")
	if !ok {
		return false
	}
	n, first := int(count), r.off
	left := len(r.s) - r.off
	fit := min(n, left/smallest) // bounds the memory for any count
	if n < 0 {
		return r.badCount(start, n, left)
	}
	if fit > cap(d.Params) {
		d.Params = make([]Param, fit)
	}
	d.Params = d.Params[:fit]
	for i := range n {
		if i > 0 && r.off == len(r.s) {
			d.Params = d.Params[:i]
			return r.fail("parameter "+strconv.Itoa(i+1), r.off, fmt.Errorf("%w: it holds %d, and declares %d", ErrTruncated, i, n))
		}
		if i == fit || !r.param(&d.Params[i]) {
			if fit < n {
				return r.badCount(start, n, len(r.s)-first)
			}
			e := r.err.(*DecodeError)
			e.Field = "parameter " + strconv.Itoa(i+1) + " " + e.Field
			return false
		}
	}
	switch left = len(r.s) - r.off; left {
	case 0:
	case 4:
		d.Time, _ = r.int32("time")
		d.Timed = true
	default:
		return r.fail("time", r.off, fmt.Errorf("%w: %d bytes", ErrTrailing, left))
	}
	return true
}

// cutHeader splits "v:VERSIONp:PASSWORD" after trimming it as the receiver does.
func cutHeader(head string) (version, password string, ok bool) {
	for head != "" && head[0] <= ' ' {
		head = head[1:]
	}
	for head != "" && head[len(head)-1] <= ' ' {
		head = head[:len(head)-1]
	}
	if len(head) < 2 || head[0] != 'v' || head[1] != ':' {
		return "", "", false
	}
	return strings.Cut(head[2:], "p:")
}

// sequenced reports whether a version is 2.2 or higher. It follows the receiver: '-'
// or '_', blanks at the end, and a blank after a dot end the numbers; a blank
// between two numbers is an error. A number is kept in one signed byte, so 258.2
// counts as 2.2, and 128.0 as older than all others.
func sequenced(version string) (bool, error) {
	var num [2]int8
	rest := version
	for i := 0; ; i++ {
		n, after, ok := cutNumber(rest)
		if !ok {
			break
		}
		if i < len(num) {
			num[i] = int8(n)
		}
		rest = strings.TrimPrefix(after, ".")
		if rest == after && strings.HasPrefix(rest, " ") && strings.Trim(rest, " ") != "" {
			break
		}
		if rest == "" || rest[0] == ' ' || rest[0] == '-' || rest[0] == '_' {
			return num[0] > 2 || num[0] == 2 && num[1] >= 2, nil
		}
		if len(rest) == len(after) { // no dot
			break
		}
	}
	return false, fmt.Errorf("%w: %s", ErrVersion, safetext.Quote(version))
}

// cutNumber splits s after its leading decimal number, which may have a plus sign and
// must fit an int32.
func cutNumber(s string) (n int64, after string, ok bool) {
	i := 0
	if s != "" && s[0] == '+' {
		i = 1
	}
	first := i
	for i < len(s) && '0' <= s[i] && s[i] <= '9' && n <= math.MaxInt32 {
		n = 10*n + int64(s[i]-'0')
		i++
	}
	return n, s[i:], i > first && n <= math.MaxInt32
}

func (r *reader) badCount(off, n, left int) bool {
	return r.fail("parameter count", off, fmt.Errorf("%w: %d in the %d bytes left", ErrCount, n, left))
}

func (r *reader) fail(field string, off int, err error) bool {
	r.err = &DecodeError{Field: field, Offset: off, Err: err}
	return false
}

func (r *reader) int32(field string) (int32, bool) {
	s := r.s[r.off:]
	if len(s) < 4 {
		return 0, r.fail(field, r.off, ErrShort)
	}
	r.off += 4
	return int32(be32(s)), true
}

// str reads a string.
func (r *reader) str(field string) (string, bool) {
	s := r.s[r.off:]
	if len(s) < 4 {
		return "", r.fail(field, r.off, ErrShort)
	}
	n := int(int32(be32(s)))
	s = s[4:]
	if uint(n) > MaxString || n > len(s) {
		return "", r.badString(field, n, len(s))
	}
	// The padding of the last string may be missing: the receiver skips the
	// bytes that are there.
	r.off += 4 + min((n+3)&^3, len(s))
	return s[:n], true
}

func (r *reader) badString(field string, n, left int) bool {
	if n < 0 || n > MaxString {
		return r.fail(field, r.off, fmt.Errorf("%w: %d bytes", ErrLength, n))
	}
	return r.fail(field, r.off, fmt.Errorf("%w: a string of %d bytes, with %d left", ErrShort, n, left))
}

// param reads one parameter.
func (r *reader) param(p *Param) bool {
	var ok bool
	if p.Name, ok = r.str("name"); !ok {
		return false
	}
	start := r.off
	typ, ok := r.int32("type")
	if !ok {
		return false
	}
	p.typ, p.text, p.bits = Type(typ), "", 0
	s := r.s[r.off:]
	switch p.typ {
	case TypeString:
		p.text, ok = r.str("value")
		return ok
	case TypeInt32, TypeReal32:
		if len(s) < 4 {
			return r.fail("value", r.off, ErrShort)
		}
		r.off += 4
		p.bits = uint64(be32(s))
		if p.typ == TypeInt32 {
			p.bits = uint64(int32(p.bits))
		}
		return true
	case TypeInt64, TypeReal64:
		if len(s) < 8 {
			return r.fail("value", r.off, ErrShort)
		}
		r.off += 8
		p.bits = uint64(be32(s))<<32 | uint64(be32(s[4:]))
		return true
	}
	return r.fail("type", start, fmt.Errorf("%w %d", ErrType, typ))
}

// be32 is binary.BigEndian.Uint32 for a string.
func be32(s string) uint32 {
	_ = s[3]
	return uint32(s[3]) | uint32(s[2])<<8 | uint32(s[1])<<16 | uint32(s[0])<<24
}

// Append appends the encoded datagram and returns the extended buffer. It writes a
// header if Version is not empty, and instance id and sequence number if
// [Datagram.Sequenced] returns true. It checks nothing.
func (d *Datagram) Append(b []byte) []byte {
	if d.Version != "" {
		if d.Sequenced() {
			b = AppendPrefix(b, d.Version, d.Password, d.Instance, d.Seq)
		} else {
			b = appendHeader(b, d.Version, d.Password)
		}
	}
	b = appendString(b, d.Cluster)
	b = appendString(b, d.Node)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Params)))
	for i := range d.Params {
		b = AppendParam(b, &d.Params[i])
	}
	if d.Timed {
		b = binary.BigEndian.AppendUint32(b, uint32(d.Time))
	}
	return b
}
