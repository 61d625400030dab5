package statusz

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
	self, all time.Duration // without and with what it calls
}

var errProfile = errors.New("statusz: not a CPU profile")

// busiest reads a CPU profile of package runtime/pprof and returns the time in it,
// and the n functions in which most was spent. Of the format
// (https://github.com/google/pprof/blob/main/proto/profile.proto) it knows what
// that takes: whatever else there is, is skipped.
func busiest(profile []byte, n int) (total time.Duration, top []spent, err error) {
	z, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return 0, nil, errors.Join(errProfile, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return 0, nil, errors.Join(errProfile, err)
	}
	type sample struct{ locations, values []uint64 }
	var samples []sample
	lines := map[uint64][]uint64{} // of a location: the functions, the innermost first
	names := map[uint64]uint64{}   // of a function: its name's number
	functions := map[string]*spent{}
	var texts []string
	ok := fields(b, func(field int, _ uint64, b []byte) bool {
		switch field {
		case 2: // sample
			var s sample
			if !fields(b, func(field int, v uint64, b []byte) bool {
				switch field {
				case 1:
					return numbers(&s.locations, v, b)
				case 2:
					return numbers(&s.values, v, b)
				}
				return true
			}) {
				return false
			}
			samples = append(samples, s)
		case 4: // location
			var id uint64
			var in []uint64
			if !fields(b, func(field int, v uint64, b []byte) bool {
				switch field {
				case 1:
					id = v
				case 4: // line
					return fields(b, func(field int, v uint64, _ []byte) bool {
						if field == 1 {
							in = append(in, v)
						}
						return true
					})
				}
				return true
			}) {
				return false
			}
			lines[id] = in
		case 5: // function
			var id, name uint64
			if !fields(b, func(field int, v uint64, _ []byte) bool {
				switch field {
				case 1:
					id = v
				case 2:
					name = v
				}
				return true
			}) {
				return false
			}
			names[id] = name
		case 6: // string table
			texts = append(texts, string(b))
		}
		return true
	})
	if !ok {
		return 0, nil, errProfile
	}
	for _, s := range samples {
		if len(s.values) < 2 { // the number of samples, and nanoseconds
			return 0, nil, errProfile
		}
		took := time.Duration(s.values[1])
		total += took
		counted := map[*spent]bool{} // a function that calls itself spends its time once
		first := true
		for _, location := range s.locations {
			for _, id := range lines[location] {
				number := names[id]
				if number >= uint64(len(texts)) {
					return 0, nil, errProfile
				}
				f := functions[texts[number]]
				if f == nil {
					f = &spent{name: texts[number]}
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
		return cmp.Or(cmp.Compare(b.self, a.self), cmp.Compare(b.all, a.all), cmp.Compare(a.name, b.name))
	})
	return total, top[:min(n, len(top))], nil
}

// fields calls visit for each field of a message of protocol buffers, with the
// number it holds or its bytes, and reports whether all could be read and was
// wanted.
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

// numbers appends those of a repeated field: one, or all packed.
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
