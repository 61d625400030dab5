package input

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/xdr"
)

const (
	// maxDatagram is the length in bytes of the longest datagram that UDP can carry.
	maxDatagram = 65535
	// maxHex leaves some room for blanks around the digits.
	maxHex = 2*maxDatagram + 256
	// maxLine is the length of the longest line of JSON. Each byte of a name can become six
	// there, and each parameter has 40 more.
	maxLine = 1 << 20
)

// lineReader reads lines of hexadecimal digits and of JSON.
type lineReader struct {
	in   *bufio.Reader
	line []byte
	raw  []byte
}

func (r *lineReader) Unit() string { return "line" }

func (r *lineReader) Next() (Item, error) {
	length, err := r.readLine()
	if err == io.EOF && length == 0 {
		return Item{}, io.EOF
	}
	if err != nil && err != io.EOF {
		return Item{}, err
	}
	if text := bytes.TrimLeft(r.line, " \t"); len(text) > 0 && text[0] == '{' {
		return r.json(text, length), nil
	}
	raw, err := unhex(r.line, length)
	return Item{Raw: raw, Err: err}, nil
}

// readLine reads a line, with its line end, and returns its length in bytes. It keeps only
// the beginning of a line longer than maxLine.
func (r *lineReader) readLine() (length int, err error) {
	r.line = r.line[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		length += len(part)
		r.line = append(r.line, part[:min(len(part), maxLine-len(r.line))]...)
		if err != bufio.ErrBufferFull {
			return length, err
		}
	}
}

var (
	errDigit = errors.New("not a hex digit")
	errHalf  = errors.New("the last byte has only one digit")
)

// unhex decodes a line in place. Its errors have the form of those of the datagram, with
// the offset of the byte that cannot be decoded.
func unhex(line []byte, length int) ([]byte, error) {
	if length > maxHex {
		return nil, &xdr.DecodeError{Field: "line", Offset: maxDatagram,
			Err: fmt.Errorf("%w: %d characters, but a datagram has at most %d bytes", xdr.ErrLength, length, maxDatagram)}
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

// record is a line of JSON as apmon-recv writes it.
type record struct {
	From      *string
	Version   string
	Instance  *int32
	Seq       *int32
	Cluster   string
	Node      string
	Time      *int32
	Params    []recordParam
	Error     string
	Truncated bool
	Received  float64
}

type recordParam struct {
	Name, Type string
	Value      json.RawMessage
}

// json decodes a line of JSON.
func (r *lineReader) json(line []byte, length int) Item {
	bad := func(err error) Item {
		return Item{Err: &xdr.DecodeError{Field: "JSON", Err: err}}
	}
	if length > len(line) && length > maxLine {
		return bad(fmt.Errorf("%w: %d characters", xdr.ErrLength, length))
	}
	var rec record
	if err := json.Unmarshal(line, &rec); err != nil {
		return bad(err)
	}
	var it Item
	if rec.From != nil {
		it.From, _ = netip.ParseAddrPort(*rec.From)
	}
	if rec.Received > 0 && rec.Received < math.MaxInt32*2 {
		seconds, fraction := math.Modf(rec.Received)
		it.At = time.Unix(int64(seconds), int64(fraction*1e9)).Round(time.Microsecond)
	}
	if rec.Error != "" && !rec.Truncated {
		it.Err = fmt.Errorf("refused when it was received: %s", rec.Error)
		return it
	}
	d := xdr.Datagram{Version: rec.Version, Cluster: rec.Cluster, Node: rec.Node}
	if rec.Instance != nil && rec.Seq != nil {
		d.Instance, d.Seq = *rec.Instance, *rec.Seq
	}
	if rec.Time != nil {
		d.Timed, d.Time = true, *rec.Time
	}
	for i := range rec.Params {
		p, err := rec.Params[i].param()
		if err != nil {
			return bad(fmt.Errorf("parameter %d: %w", i+1, err))
		}
		d.Params = append(d.Params, p)
	}
	if rec.Cluster == "" && rec.Params == nil {
		return bad(errors.New("not a datagram: it has neither a cluster nor parameters"))
	}
	r.raw = d.Append(r.raw[:0])
	if len(r.raw) > maxDatagram {
		return bad(fmt.Errorf("%w: the datagram has %d bytes", xdr.ErrLength, len(r.raw)))
	}
	it.Raw = r.raw
	return it
}

// param returns the parameter with its type on the wire.
func (p *recordParam) param() (xdr.Param, error) {
	var err error
	switch p.Type {
	case "string":
		var s string
		err = json.Unmarshal(p.Value, &s)
		return xdr.String(p.Name, s), err
	case "int32":
		var n int32
		err = json.Unmarshal(p.Value, &n)
		return xdr.Int(p.Name, n), err
	case "int64":
		var n int64
		err = json.Unmarshal(p.Value, &n)
		return xdr.Int64(p.Name, n), err
	case "real32", "real64":
		f, err := float(p.Value)
		if p.Type == "real32" {
			return xdr.Real32(p.Name, float32(f)), err
		}
		return xdr.Float(p.Name, f), err
	}
	return xdr.Param{}, fmt.Errorf("unknown type %q", p.Type)
}

// float decodes a number, or one of the texts that stand for what JSON has no number for.
func float(v json.RawMessage) (float64, error) {
	switch string(v) {
	case `"NaN"`:
		return math.NaN(), nil
	case `"+Inf"`:
		return math.Inf(1), nil
	case `"-Inf"`:
		return math.Inf(-1), nil
	}
	var f float64
	err := json.Unmarshal(v, &f)
	return f, err
}
