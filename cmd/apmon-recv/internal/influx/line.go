package influx

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// appendLine appends a datagram in line protocol:
//
//	CLUSTER,node=NODE param=1.5,status="RUNNING" 1700000000000000000
//
// The time is that of the datagram, else of its arrival. All numbers are floats: a field of
// InfluxDB has one type forever, and clients send 0 as an integer and 0.5 as none. NaN and
// infinities, which line protocol cannot express, and parameters without a name are left
// out. It returns false, and b as it was, if nothing is left.
//
// Names are escaped as line protocol has it. What it cannot express is rewritten: line ends
// are \n and \r, bytes that are not UTF-8 are \xff, a backslash at the end of a name has an
// underscore after it, and so has the name "time", which is reserved.
func appendLine(b []byte, d *xdr.Datagram, at time.Time) ([]byte, bool) {
	start := len(b)
	if d.Cluster == "" {
		return b, false
	}
	if d.Cluster[0] == '#' { // the line would be a comment
		b = append(b, '\\')
	}
	b = appendName(b, d.Cluster, ", ")
	if d.Node != "" {
		b = append(b, ",node="...)
		b = appendName(b, d.Node, ",= ")
	}
	separator := byte(' ')
	for i := range d.Params {
		p := &d.Params[i]
		text := p.Type() == xdr.TypeString
		if v := p.Float(); p.Name == "" || !text && (math.IsNaN(v) || math.IsInf(v, 0)) {
			continue
		}
		b = append(b, separator)
		separator = ','
		b = appendName(b, p.Name, ",= ")
		if p.Name == "time" {
			b = append(b, '_')
		}
		b = append(b, '=')
		if text {
			b = appendText(b, p.Text())
		} else {
			b = safetext.AppendFloat(b, p.Float())
		}
	}
	if separator == ' ' {
		return b[:start], false
	}
	if d.Timed && d.Time > 0 { // other values mean "now"
		at = time.Unix(int64(d.Time), 0)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, at.UnixNano(), 10)
	return append(b, '\n'), true
}

// appendName appends a name and escapes the given characters.
func appendName(b []byte, name, special string) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(name[i:])
			if r == utf8.RuneError && size == 1 {
				b = appendHex(b, c)
			} else {
				b = append(b, name[i:i+size]...)
			}
			i += size
			continue
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == 0:
			b = appendHex(b, c)
		case strings.IndexByte(special, c) >= 0:
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
		i++
	}
	if name[len(name)-1] == '\\' { // it would escape what follows
		b = append(b, '_')
	}
	return b
}

func appendHex(b []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'x', digits[c>>4], digits[c&15])
}

// appendText appends a text in quotes.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = appendHex(append(b, 0x5c), c) // the backslash is escaped here
			} else {
				b = append(b, s[i:i+size]...)
			}
			i += size
			continue
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}
