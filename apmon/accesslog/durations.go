package accesslog

import "bytes"

// The durations of a request, as indices of durations.
const (
	requestTime = iota
	upstreamTime
	kinds
)

// durations are those of a line in ms; negative if absent.
type durations [kinds]float64

var noDurations = durations{-1, -1}

// durations returns those of a JSON line.
func (s *scanner) durations() durations {
	took := noDurations
	for f := fieldRequestTime; f <= fieldUpstreamTime; f++ {
		if v := &s.fields[f]; v.kind == text || v.kind == number {
			took.set(f, v.b)
		}
	}
	return took
}

// set sets the duration of a field, if the text is a duration.
func (d *durations) set(field int, b []byte) {
	var ms float64
	var ok bool
	switch field {
	case fieldRequestTime:
		if ms, ok = seconds(b); ok {
			d[requestTime] = ms
		}
	case fieldRequestMicros:
		if ms, ok = seconds(b); ok {
			d[requestTime] = ms / 1e6
		}
	case fieldUpstreamTime:
		if ms, ok = addedUp(b); ok {
			d[upstreamTime] = ms
		}
	}
}

// seconds reads a time in s with or without a fraction, and returns it in ms.
func seconds(b []byte) (ms float64, ok bool) {
	whole, fraction, point := bytes.Cut(b, []byte("."))
	n, ok := decimal(whole)
	ms = 1000 * float64(n)
	if ok && point {
		if n, ok = decimal(fraction); ok {
			unit := 1000.0
			for range fraction {
				unit /= 10
			}
			ms += unit * float64(n)
		}
	}
	return ms, ok
}

// addedUp reads the times of several servers as nginx writes them, "0.010, 0.200 : -",
// and returns their sum in ms. It reports whether there is any.
func addedUp(b []byte) (ms float64, ok bool) {
	for len(b) > 0 {
		n := bytes.IndexAny(b, " ,:")
		if n < 0 {
			n = len(b)
		}
		if one, is := seconds(b[:n]); is {
			ms, ok = ms+one, true
		}
		b = b[min(n+1, len(b)):]
	}
	return ms, ok
}

// durationsAfter returns those after the user agent of a line in Combined Log Format.
func durationsAfter(b []byte) durations {
	took := noDurations
	next := fieldRequestTime // of a number without a name
	for len(b) > 0 {
		if b[0] == ' ' {
			b = b[1:]
			continue
		}
		n := bytes.IndexAny(b, " =\"")
		named := n >= 0 && b[n] == '='
		var name, value []byte
		if named {
			name, b = b[:n], b[n+1:]
		}
		if len(b) > 0 && b[0] == '"' {
			var ok bool
			if _, value, b, ok = cutQuoted(b); !ok {
				return took
			}
			if !named {
				continue // such as the address of a proxy: the client chooses it
			}
		} else if value, b, _ = bytes.Cut(b, []byte(" ")); !named && bytes.IndexByte(value, '.') < 0 {
			if string(value) == "-" && next == fieldUpstreamTime {
				next = fields // no server was asked
			}
			continue // such as the length of the request
		}
		f := next
		if named {
			f = fieldAfter(name)
		} else if next == fieldRequestTime {
			next = fieldUpstreamTime
		} else {
			next = fields
		}
		took.set(f, value)
	}
	return took
}

// fieldAfter returns the field of a name after the user agent, −1 for none.
func fieldAfter(name []byte) int {
	switch string(name) {
	case "rt":
		return fieldRequestTime
	case "urt":
		return fieldUpstreamTime
	}
	return field(name)
}
