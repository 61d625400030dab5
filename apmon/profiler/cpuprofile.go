package profiler

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"
)

// spent is the CPU time of a function.
type spent struct {
	name      string
	self, all time.Duration // without and with the functions it calls
}

var errProfile = errors.New("profiler: not a CPU profile")

// busiest returns the CPU time in a profile of package runtime/pprof, and the n
// functions that used most of it: by themselves, or (cum) with the functions they call.
func busiest(profile []byte, n int, cum bool) (total time.Duration, top []spent, err error) {
	p, err := decode(profile)
	if err != nil {
		return 0, nil, err
	}
	functions := map[string]*spent{}
	for _, s := range p.samples {
		if len(s.values) < 2 { // the number of samples, and nanoseconds
			return 0, nil, errProfile
		}
		took := time.Duration(s.values[1])
		total += took
		counted := map[*spent]bool{} // a recursive function counts once
		first := true
		for _, location := range s.locations {
			for _, id := range p.functions[location] {
				number := p.names[id]
				if number >= uint64(len(p.texts)) {
					return 0, nil, errProfile
				}
				f := functions[p.texts[number]]
				if f == nil {
					f = &spent{name: p.texts[number]}
					functions[f.name] = f
				}
				if first {
					f.self += took
					first = false
				}
				if !counted[f] {
					counted[f] = true
					f.all += took
				}
			}
		}
	}
	for _, f := range functions {
		top = append(top, *f)
	}
	slices.SortFunc(top, func(a, b spent) int {
		self, all := cmp.Compare(b.self, a.self), cmp.Compare(b.all, a.all)
		if cum {
			self, all = all, self
		}
		return cmp.Or(self, all, cmp.Compare(a.name, b.name))
	})
	return total, top[:min(n, len(top))], nil
}

// cpuProfileData is the part of a profile that busiest needs. The format is
// https://github.com/google/pprof/blob/main/proto/profile.proto.
type cpuProfileData struct {
	samples   []sample
	functions map[uint64][]uint64 // of each location, the innermost first
	names     map[uint64]uint64   // of each function, an index of texts
	texts     []string
}

type sample struct{ locations, values []uint64 }

// decode decodes a profile, compressed by gzip, and skips unknown fields.
func decode(profile []byte) (*cpuProfileData, error) {
	z, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return nil, errors.Join(errProfile, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, errors.Join(errProfile, err)
	}
	p := &cpuProfileData{functions: map[uint64][]uint64{}, names: map[uint64]uint64{}}
	if !fields(b, func(field int, _ uint64, b []byte) bool {
		switch field {
		case 2:
			return p.addSample(b)
		case 4:
			return p.addLocation(b)
		case 5:
			return p.addFunction(b)
		case 6:
			p.texts = append(p.texts, string(b))
		}
		return true
	}) {
		return nil, errProfile
	}
	return p, nil
}

func (p *cpuProfileData) addSample(b []byte) bool {
	var s sample
	ok := fields(b, func(field int, v uint64, b []byte) bool {
		switch field {
		case 1:
			return numbers(&s.locations, v, b)
		case 2:
			return numbers(&s.values, v, b)
		}
		return true
	})
	p.samples = append(p.samples, s)
	return ok
}

func (p *cpuProfileData) addLocation(b []byte) bool {
	var id uint64
	var functions []uint64
	ok := fields(b, func(field int, v uint64, b []byte) bool {
		switch field {
		case 1:
			id = v
		case 4: // line
			return fields(b, func(field int, v uint64, _ []byte) bool {
				if field == 1 {
					functions = append(functions, v)
				}
				return true
			})
		}
		return true
	})
	p.functions[id] = functions
	return ok
}

func (p *cpuProfileData) addFunction(b []byte) bool {
	var id, name uint64
	ok := fields(b, func(field int, v uint64, _ []byte) bool {
		switch field {
		case 1:
			id = v
		case 2:
			name = v
		}
		return true
	})
	p.names[id] = name
	return ok
}

// fields calls visit for each field of a message of protocol buffers, with its number
// or its bytes, and reports whether the message is valid and visit always returned
// true.
func fields(b []byte, visit func(field int, v uint64, b []byte) bool) bool {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return false
		}
		b = b[n:]
		var v uint64
		var inside []byte
		switch key & 7 {
		case 0:
			if v, n = binary.Uvarint(b); n <= 0 {
				return false
			}
		case 1:
			n = 8
		case 2:
			length, m := binary.Uvarint(b)
			if m <= 0 || length > uint64(len(b)-m) {
				return false
			}
			n = m + int(length)
			inside = b[m:n]
		case 5:
			n = 4
		default:
			return false
		}
		if n > len(b) || !visit(int(key>>3), v, inside) {
			return false
		}
		b = b[n:]
	}
	return true
}

// numbers appends the numbers of a repeated field: one, or all packed.
func numbers(to *[]uint64, v uint64, packed []byte) bool {
	if packed == nil {
		*to = append(*to, v)
		return true
	}
	for len(packed) > 0 {
		v, n := binary.Uvarint(packed)
		if n <= 0 {
			return false
		}
		*to = append(*to, v)
		packed = packed[n:]
	}
	return true
}
