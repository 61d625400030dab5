package xdr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	oracle "github.com/davecgh/go-xdr/xdr2"
)

func addVectors(f *testing.F) {
	for _, v := range clientVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	for _, v := range hostileVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
}

// sameDatagram compares numbers as bits, so that NaN equals itself. It does not
// use cmp, which the fuzzing engine would explore instead of this package.
func sameDatagram(a, b *Datagram) bool {
	return a.Version == b.Version && a.Password == b.Password &&
		a.Instance == b.Instance && a.Seq == b.Seq && a.Cluster == b.Cluster && a.Node == b.Node &&
		slices.Equal(a.Params, b.Params) && a.Time == b.Time && a.Timed == b.Timed
}

// FuzzDecode asserts that no input makes the decoder panic or allocate more than the
// datagram justifies, and that decode∘encode∘decode is the identity.
func FuzzDecode(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		input := bytes.Clone(b)
		var d Datagram
		err := d.Decode(b)
		if cap(d.Params) > len(b)/smallest {
			t.Fatalf("%d parameters reserved for %d bytes", cap(d.Params), len(b))
		}
		copied, parseErr := Parse(b)
		if !bytes.Equal(input, b) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			var e *DecodeError
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(b) || e.Field == "" || e.Err == nil {
				t.Fatalf("error %#v for %d bytes", err, len(b))
			}
			if parseErr == nil || parseErr.Error() != err.Error() {
				t.Fatalf("Decode says %v, Parse %v", err, parseErr)
			}
			if truncated := errors.Is(err, ErrTruncated); d.Timed || truncated != (len(d.Params) > 0) || truncated && !sameDatagram(&d, copied) {
				t.Fatalf("%v, but %+v", err, d)
			}
			return
		}
		if parseErr != nil || !sameDatagram(&d, copied) {
			t.Fatalf("Decode makes it %+v, Parse %+v, %v", d, copied, parseErr)
		}
		again := d.Append(nil)
		var e Datagram
		if err := e.Decode(again); err != nil || !sameDatagram(&d, &e) {
			t.Fatalf("%+v\nencoded %x\nbecame %+v, %v", d, again, e, err)
		}
		if canonical := e.Append(nil); !bytes.Equal(again, canonical) {
			t.Fatalf("encoded %x, and again %x", again, canonical)
		}
	})
}

// FuzzJSON asserts that every datagram is printed as one line of valid JSON with the
// same content.
func FuzzJSON(f *testing.F) {
	addVectors(f)
	f.Fuzz(checkJSON)
}

// FuzzDifferential asserts that github.com/davecgh/go-xdr reads and writes the same.
// It only gets datagrams that this decoder accepts: on a hostile length it would
// allocate gigabytes.
func FuzzDifferential(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Datagram
		if d.Decode(b) != nil {
			return
		}
		o := newOracle(t, b)
		head := o.string()
		if d.Version == "" {
			o.same("cluster", head, d.Cluster)
		} else {
			trimmed := strings.TrimFunc(head, func(r rune) bool { return r <= ' ' })
			o.same("header", trimmed, "v:"+d.Version+"p:"+d.Password)
			if d.Sequenced() {
				o.same("instance id", o.int(), d.Instance)
				o.same("sequence number", o.int(), d.Seq)
			}
			o.same("cluster", o.string(), d.Cluster)
		}
		o.same("node", o.string(), d.Node)
		o.same("count", o.int(), int32(len(d.Params)))
		for i := range d.Params {
			p := &d.Params[i]
			o.same("name", o.string(), p.Name)
			o.same("type", Type(o.int()), p.Type())
			switch p.Type() {
			case TypeString:
				o.same("text", o.string(), p.Text())
			case TypeInt32:
				o.same("int32", int64(o.int()), p.Int())
			case TypeInt64:
				o.same("int64", o.hyper(), p.Int())
			case TypeReal32:
				o.same("real32", math.Float64bits(float64(o.float())), math.Float64bits(p.Float()))
			case TypeReal64:
				o.same("real64", math.Float64bits(o.double()), math.Float64bits(p.Float()))
			default:
				t.Fatalf("type %v", p.Type())
			}
		}
		if d.Timed {
			o.same("time", o.int(), d.Time)
		}
		if o.r.Len() > 0 {
			t.Fatalf("%d bytes that go-xdr did not read", o.r.Len())
		}
		if theirs, ours := oracleEncode(t, &d), d.Append(nil); !bytes.Equal(theirs, ours) {
			t.Fatalf("go-xdr writes\n%x, this package\n%x", theirs, ours)
		}
	})
}

// oracleReader reads with go-xdr's primitives.
type oracleReader struct {
	t *testing.T
	r *bytes.Reader
	d *oracle.Decoder
}

func newOracle(t *testing.T, b []byte) *oracleReader {
	// go-xdr insists on the last string's padding.
	r := bytes.NewReader(append(bytes.Clone(b), "\x00\x00\x00"[:-len(b)&3]...))
	return &oracleReader{t, r, oracle.NewDecoder(r)}
}

func (o *oracleReader) same(field string, theirs, ours any) {
	o.t.Helper()
	if theirs != ours {
		o.t.Fatalf("%s: go-xdr reads %#v, this package %#v", field, theirs, ours)
	}
}

func must[T any](o *oracleReader, v T, _ int, err error) T {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("go-xdr, %d bytes before the end: %v", o.r.Len(), err)
	}
	return v
}

func (o *oracleReader) string() string {
	v, n, err := o.d.DecodeString()
	return must(o, v, n, err)
}

func (o *oracleReader) int() int32 {
	v, n, err := o.d.DecodeInt()
	return must(o, v, n, err)
}

func (o *oracleReader) hyper() int64 {
	v, n, err := o.d.DecodeHyper()
	return must(o, v, n, err)
}

func (o *oracleReader) float() float32 {
	v, n, err := o.d.DecodeFloat()
	return must(o, v, n, err)
}

func (o *oracleReader) double() float64 {
	v, n, err := o.d.DecodeDouble()
	return must(o, v, n, err)
}

// oracleEncode writes a datagram with go-xdr's primitives. Numbers are written as
// bits: conversion to a float would turn a signalling NaN into a quiet one.
func oracleEncode(t *testing.T, d *Datagram) []byte {
	var b bytes.Buffer
	e := oracle.NewEncoder(&b)
	check := func(_ int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if d.Version != "" {
		check(e.EncodeString("v:" + d.Version + "p:" + d.Password))
		if d.Sequenced() {
			check(e.EncodeInt(d.Instance))
			check(e.EncodeInt(d.Seq))
		}
	}
	check(e.EncodeString(d.Cluster))
	check(e.EncodeString(d.Node))
	check(e.EncodeInt(int32(len(d.Params))))
	for i := range d.Params {
		p := &d.Params[i]
		check(e.EncodeString(p.Name))
		check(e.EncodeInt(int32(p.Type())))
		switch p.Type() {
		case TypeString:
			check(e.EncodeString(p.Text()))
		case TypeInt32:
			check(e.EncodeInt(int32(p.Int())))
		case TypeReal32:
			check(e.EncodeUint(uint32(p.bits)))
		case TypeInt64:
			check(e.EncodeHyper(p.Int()))
		case TypeReal64:
			check(e.EncodeUhyper(p.bits))
		}
	}
	if d.Timed {
		check(e.EncodeInt(d.Time))
	}
	return b.Bytes()
}

// fuzzParams derives parameters from bytes: of any type, and of sizes up to more
// than MaxLimit.
func fuzzParams(data []byte) []Param {
	take := func(n int) []byte {
		var b [8]byte
		data = data[copy(b[:n], data):]
		return b[:n]
	}
	text := func(fill string) string {
		n := int(take(1)[0])
		if n > 200 {
			n = (n - 200) * 180
		} else {
			n %= 24
		}
		return strings.Repeat(fill, n)
	}
	var params []Param
	for len(data) > 0 && len(params) < 500 {
		kind := take(1)[0] % 5
		name := text("n")
		switch kind {
		case 0:
			params = append(params, String(name, text("t")))
		case 1:
			params = append(params, Int(name, int64(binary.BigEndian.Uint64(take(8)))))
		case 2:
			params = append(params, Float(name, math.Float64frombits(binary.BigEndian.Uint64(take(8)))))
		case 3:
			params = append(params, Int64(name, int64(binary.BigEndian.Uint64(take(8)))))
		case 4:
			params = append(params, Param{Name: name, typ: TypeReal32, bits: uint64(binary.BigEndian.Uint32(take(4)))})
		}
	}
	return params
}

// FuzzEncoder compares the datagrams of the Encoder with those of a plain model,
// and decodes each of them.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte{}, "", uint16(0), 0, false, int32(0), "C", "N")
	f.Add([]byte{1, 1, 2, 3, 4}, "pw", uint16(3), 1432, true, int32(1700000000), "MySite_Jobs", "123456")
	f.Add(bytes.Repeat([]byte{1, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 6, 7}, 100), "", uint16(0), 1432, false, int32(0), "C", "N")
	f.Add(bytes.Repeat([]byte{0, 255, 255, 0, 3, 240, 2, 8}, 10), "secret", uint16(100), 300, true, int32(-1), "Cluster", "Node")
	f.Add([]byte{0, 245, 1, 1, 2}, "", uint16(9000), 10000, false, int32(0), "C", "N")
	f.Add([]byte{1, 1, 2}, "", uint16(0), -1, false, int32(0), strings.Repeat("C", 5000), strings.Repeat("N", 5000))
	f.Fuzz(func(t *testing.T, data []byte, password string, spare uint16, limit int, timed bool, time int32, cluster, node string) {
		prefix := AppendPrefix(nil, Version, password, 17, 42)
		room := len(prefix) + int(spare)
		params := fuzzParams(data)

		e := usedEncoder(t)
		var err error
		if timed {
			err = e.BeginTimed(room, limit, cluster, node, time)
		} else {
			err = e.Begin(room, limit, cluster, node)
		}
		if limit <= 0 {
			limit = DefaultLimit
		}
		limit = min(limit, MaxLimit)

		// The model counts bytes: those around the parameters, with all of room
		// used, and those of each parameter.
		model := Datagram{Cluster: cluster, Node: node, Time: time, Timed: timed}
		around := room + len(model.Append(nil))
		if tooLarge := around+smallest > MaxLimit; tooLarge != errors.Is(err, ErrTooLarge) {
			t.Fatalf("Begin: %v, but too large is %v", err, tooLarge)
		}
		var want [][]Param
		open := 0 // where the open datagram begins in fitting
		var fitting []Param
		total := around // the weight of the open datagram
		end := func() {
			if open < len(fitting) {
				want = append(want, fitting[open:len(fitting):len(fitting)])
			}
			open, total = len(fitting), around
		}
		for i := range params {
			weight := len(AppendParam(nil, &params[i]))
			tooLarge := around+weight > MaxLimit
			if err := e.Add(&params[i]); errors.Is(err, ErrTooLarge) != tooLarge {
				t.Fatalf("Add: %v, but too large is %v", err, tooLarge)
			}
			if tooLarge {
				continue
			}
			if total+weight > limit {
				end()
			}
			fitting = append(fitting, params[i])
			if total += weight; total > limit {
				end()
			}
		}
		end()

		if n := e.End(); n != len(want) || e.Len() != n {
			t.Fatalf("%d datagrams, want %d", n, len(want))
		}
		for i := range want {
			b := e.Datagram(i, prefix)
			model.Params = want[i]
			if size := len(b) + int(spare); size > limit && (len(want[i]) > 1 || size > MaxLimit) {
				t.Fatalf("datagram %d: %d parameters, %d bytes, limit %d", i, len(want[i]), size, limit)
			}
			checkDatagram(t, i, b, prefix, &model)
		}
	})
}

// usedEncoder returns an encoder that holds another message.
func usedEncoder(t *testing.T) *Encoder {
	var e Encoder
	if err := e.BeginTimed(12, 50, "before", "", 7); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Add(&Param{Name: "before"}); err != nil {
			t.Fatal(err)
		}
	}
	return &e
}

// checkDatagram asserts that the i-th datagram is the prefix and the model, and
// decodes to the model.
func checkDatagram(t *testing.T, i int, b, prefix []byte, model *Datagram) {
	if body := model.Append(nil); !bytes.Equal(b, append(bytes.Clone(prefix), body...)) {
		t.Fatalf("datagram %d is\n%x, want\n%x%x", i, b, prefix, body)
	}
	d, err := Parse(b)
	if err != nil {
		t.Fatalf("datagram %d: %v", i, err)
	}
	if len(d.Params) == 0 || !slices.Equal(model.Params, d.Params) {
		t.Fatalf("datagram %d: %+v, want %+v", i, d.Params, model.Params)
	}
	if d.Timed != model.Timed || d.Timed && d.Time != model.Time || d.Cluster != model.Cluster || d.Node != model.Node || d.Instance != 17 || d.Seq != 42 {
		t.Fatalf("datagram %d: %+v", i, d)
	}
}

// FuzzAddPlain compares AddPlain with checking and adding one by one.
func FuzzAddPlain(f *testing.F) {
	f.Add([]byte{1, 1, 2, 3, 4}, uint8(3), 60, true)
	f.Add(bytes.Repeat([]byte{1, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 6, 7}, 100), uint8(0), 1432, false)
	f.Add(bytes.Repeat([]byte{0, 255, 255, 0, 3, 240, 2, 8}, 10), uint8(100), 300, true)
	f.Add([]byte("abcd 16 bytes of a name and then a text of many more"), uint8(9), 0, false)
	f.Fuzz(func(t *testing.T, data []byte, room uint8, limit int, timed bool) {
		params := append(fuzzParams(data), benchParams(10)...)
		for i := range data { // names and texts of all short lengths, as slices of the input
			k := min(i+int(data[i])%40, len(data))
			params = append(params, String(string(data[i:k]), string(data[k:min(k+i%40, len(data))])), Int(string(data[i:k]), i))
		}
		var one, all Encoder
		for _, e := range []*Encoder{&one, &all} {
			begin := func() error { return e.Begin(int(room), limit, "C", "N") }
			if timed {
				begin = func() error { return e.BeginTimed(int(room), limit, "C", "N", 5) }
			}
			if err := begin(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range params {
			if params[i].Check() == nil {
				_ = one.Add(&params[i])
			}
		}
		for i := all.AddPlain(params); i < len(params); i += 1 + all.AddPlain(params[i+1:]) {
			if params[i].Check() == nil {
				_ = all.Add(&params[i])
			}
		}
		if one.End() != all.End() {
			t.Fatalf("%d datagrams one by one, %d at once", one.Len(), all.Len())
		}
		for i := range one.Len() {
			if a, b := one.Datagram(i, nil), all.Datagram(i, nil); !bytes.Equal(a, b) {
				t.Fatalf("datagram %d\none by one %x\nat once    %x", i, a, b)
			}
		}
	})
}
