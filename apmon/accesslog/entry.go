package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Format is the format of the lines of a log.
type Format string

const (
	// Auto recognizes the format of each line: one that begins with { is JSON, any
	// other one Combined.
	Auto Format = "auto"
	// JSON is one object per line, with the fields client, ua, url, status, time
	// and bytes-sent; others are skipped. Ua may be missing. Status and bytes-sent
	// are integers. A number may be quoted.
	//
	// Optional are request_time, the duration of the request in s ($request_time of
	// nginx) or, as duration, of package httpstats; request_time_us, the same in µs
	// (%D of Apache); and upstream_response_time in s ($upstream_response_time of
	// nginx, of which several times are added up). A duration that is not a number,
	// such as -, is absent.
	//
	// The time is seconds since 1970, with or without a fraction, or one of
	//
	//	2006-11-02T15:04:05Z           RFC 3339, ISO 8601; T may be a blank
	//	2006-11-02 15:04:05.123+01:00  a fraction may follow a comma
	//	20061102T150405+0100           the basic form
	//	Thu, 02 Nov 2006 15:04:05 GMT  any date of HTTP, or +0100 for GMT
	//	02/Nov/2006:15:04:05 +0100     the Combined Log Format
	//
	// The zone is Z, UTC, GMT, +01:00, +0100 or +01, with or without a blank
	// before it. A time without a zone is invalid, except the HTTP date that never
	// has one.
	JSON Format = "json"
	// Combined is the Combined Log Format of Apache and nginx, or the Common Log
	// Format, which ends after the bytes sent. After the user agent may follow the
	// optional fields of JSON as NAME=VALUE (also rt= and urt=, for request_time and
	// upstream_response_time), or a number with a decimal point, which is the
	// request_time, and another one, the upstream_response_time. VALUE may be quoted.
	Combined Format = "combined"
)

// Errors of lines. They are made once, since there may be many such lines.
var (
	errLong     = fmt.Errorf("longer than %d bytes", maxLine)
	errCut      = errors.New("incomplete")
	errJSON     = errors.New("not a JSON object")
	errDepth    = fmt.Errorf("nested deeper than %d", maxDepth)
	errCombined = errors.New("not in Combined Log Format")
	errClient   = errors.New("no client, or not a text")
	errAgent    = errors.New("ua is not text")
	errURL      = errors.New("no url, or not a text")
	errStatus   = errors.New("status is not a number from 100 to 999")
	errBytes    = errors.New("no bytes-sent, or not a number from 0 to 2^50")
	errTime     = errors.New("no time, or not in a known form")
	errFuture   = errors.New("its time is in the future")
)

// maxBytes is the largest valid number of bytes of one request.
const maxBytes = 1 << 50

// entry holds the fields of a line. The slices are valid until the next line.
type entry struct {
	client, ua, url []byte
	status          int64
	bytes           int64
	time            int64 // in s since 1970, rounded down
	took            durations
}

// parser reads lines.
type parser struct {
	scratch []byte // unescaped texts
	// The last time: most lines have the time of the previous line.
	timeText []byte
	time     int64
}

// parse reads a line.
func (p *parser) parse(format Format, line []byte, e *entry) error {
	p.scratch = p.scratch[:0]
	if format == JSON || format == Auto && isJSON(line) {
		return p.json(line, e)
	}
	return p.combined(line, e)
}

// isJSON reports whether a line is recognized as JSON.
func isJSON(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return c == '{'
		}
	}
	return false
}

// json reads a line that is a JSON object.
func (p *parser) json(line []byte, e *entry) error {
	s := scanner{b: line, scratch: p.scratch}
	err := s.line()
	p.scratch = s.scratch
	if err != nil {
		return err
	}
	client, ua, url := &s.fields[fieldClient], &s.fields[fieldAgent], &s.fields[fieldURL]
	switch {
	case client.kind != text || len(client.b) == 0:
		return errClient
	case ua.kind != text && ua.kind != absent:
		return errAgent
	case url.kind != text:
		return errURL
	}
	e.client, e.ua, e.url = client.b, ua.b, url.b
	e.took = s.durations()
	return p.numbers(e, s.fields[fieldStatus].digits(), s.fields[fieldBytes].digits(), s.fields[fieldTime].digits())
}

// combined reads a line like
//
//	192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "REFERER" "USER AGENT"
//
// The client chooses the user, which may hold blanks and brackets. Only quotation marks
// are reliable: those in texts are escaped.
func (p *parser) combined(line []byte, e *entry) error {
	before, request, after, ok := cutQuoted(line)
	const stamp = len("[10/Oct/2000:13:55:36 -0700] ")
	if !ok || len(before) < stamp || before[len(before)-stamp] != '[' || before[len(before)-2] != ']' {
		return errCombined
	}
	at := before[len(before)-stamp+1 : len(before)-2]
	e.client, _, _ = bytes.Cut(before[:len(before)-stamp], []byte(" "))
	if len(e.client) == 0 {
		return errClient
	}
	// A request line without a URL is not a request, such as the first bytes of TLS.
	_, e.url, _ = bytes.Cut(request, []byte(" "))
	if i := bytes.LastIndex(e.url, []byte(" HTTP/")); i >= 0 {
		e.url = e.url[:i]
	}
	e.url = p.unescape(e.url)
	status, after, _ := bytes.Cut(bytes.TrimPrefix(after, []byte(" ")), []byte(" "))
	sent, after, more := bytes.Cut(after, []byte(" "))
	if len(sent) == 1 && sent[0] == '-' {
		sent = []byte("0")
	}
	e.ua, e.took = nil, noDurations
	if more {
		if before, _, after, ok = cutQuoted(after); !ok || len(before) > 0 { // the referer
			return errCombined
		}
		if before, e.ua, after, ok = cutQuoted(after); !ok || len(before) != 1 {
			return errCombined
		}
		if len(after) > 0 {
			e.took = durationsAfter(after)
		}
	}
	return p.numbers(e, status, sent, at)
}

// cutQuoted splits a line around its first quoted text.
func cutQuoted(b []byte) (before, quoted, after []byte, ok bool) {
	start := quote(b)
	if start < 0 {
		return nil, nil, nil, false
	}
	rest := b[start+1:]
	end := quote(rest)
	if end < 0 {
		return nil, nil, nil, false
	}
	return b[:start], rest[:end], rest[end+1:], true
}

// quote returns the index of the first quotation mark that is not escaped, or −1.
func quote(b []byte) int {
	for i := special(b, 0); i < len(b); i = special(b, i+1) {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape replaces \xHH, which nginx and Apache write for bytes that are not printable,
// and \" and \\ of Apache.
func (p *parser) unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	from := len(p.scratch)
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			c = b[i]
			if c == 'x' && i+2 < len(b) {
				if n, ok := hex(b[i+1 : i+3]); ok {
					c, i = byte(n), i+2
				}
			}
		}
		p.scratch = append(p.scratch, c)
	}
	return p.scratch[from:]
}

// hex reads hexadecimal digits.
func hex(b []byte) (n rune, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | rune(c)
	}
	return n, true
}

// numbers parses the numeric fields of both formats.
func (p *parser) numbers(e *entry, status, sent, at []byte) error {
	var ok bool
	if s := string(status); s == "" || s == "-" || s == "000" || s == "009" {
		// No status: the client disconnected first, or the connection was hijacked, or
		// (009 of nginx) the protocol is HTTP/0.9.
		e.status = 0
	} else if e.status, ok = decimal(status); !ok || e.status < 100 || e.status > 999 {
		return errStatus
	}
	if e.bytes, ok = decimal(sent); !ok || e.bytes > maxBytes {
		return errBytes
	}
	if len(at) == 0 || !bytes.Equal(at, p.timeText) {
		t, ok := parseTime(at)
		if !ok {
			return errTime
		}
		p.timeText, p.time = append(p.timeText[:0], at...), t
	}
	e.time = p.time
	return nil
}

// decimal reads a number of at most 18 digits.
func decimal(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(b) > 0 && len(b) <= 18
}

// parseTime reads a time in any of its forms, see [JSON], and returns it in s
// since 1970, rounded down.
func parseTime(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > maxTime {
		return 0, false
	}
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	if n, ok := decimal(whole); ok && len(whole) <= 11 {
		_, ok = decimal(fraction)
		return n, ok || len(fraction) == 0
	}
	var t time.Time
	var err error
	switch {
	case b[0] >= 'A': // a weekday
		t, err = http.ParseTime(string(b))
		if zone, _ := t.Zone(); err != nil || zone != "GMT" && zone != "UTC" {
			// Package time reads the abbreviation of any other zone as GMT.
			t, err = time.Parse(time.RFC1123Z, string(b))
		}
	case len(b) > 2 && b[2] == '/':
		t, err = time.Parse("02/Jan/2006:15:04:05 -0700", string(b))
	default:
		var buf [maxTime + 8]byte
		err = t.UnmarshalText(appendRFC3339(buf[:0], b))
	}
	return t.Unix(), err == nil
}

// maxTime is the length in bytes of the longest time that is read.
const maxTime = 40

// appendRFC3339 appends an ISO 8601 time in the form of RFC 3339: with - and : in date,
// clock and zone, a T between, and a point before a fraction. It copies invalid parts;
// the parser of RFC 3339 refuses them.
func appendRFC3339(dst, b []byte) []byte {
	separator := func(i int) bool { return len(b) > i && (b[i] == 'T' || b[i] == 't' || b[i] == ' ') }
	switch {
	case separator(8) && len(b) >= 15: // 20061102T150405
		dst = append(append(append(append(append(dst, b[:4]...), '-'), b[4:6]...), '-'), b[6:8]...)
		dst = append(append(append(append(append(append(dst, 'T'), b[9:11]...), ':'), b[11:13]...), ':'), b[13:15]...)
		b = b[15:]
	case separator(10) && len(b) >= 19: // 2006-11-02T15:04:05
		dst = append(append(append(dst, b[:10]...), 'T'), b[11:19]...)
		b = b[19:]
	default:
		return append(dst, b...)
	}
	if len(b) > 0 && (b[0] == '.' || b[0] == ',') {
		n := 1
		for n < len(b) && '0' <= b[n] && b[n] <= '9' {
			n++
		}
		dst = append(append(dst, '.'), b[1:n]...)
		b = b[n:]
	}
	zone := bytes.TrimPrefix(b, []byte(" "))
	switch signed := len(zone) > 0 && (zone[0] == '+' || zone[0] == '-'); {
	case string(zone) == "z", string(zone) == "UTC", string(zone) == "GMT":
		return append(dst, 'Z')
	case signed && len(zone) == 3: // +01
		return append(append(dst, zone...), ":00"...)
	case signed && len(zone) == 5: // +0100
		return append(append(append(dst, zone[:3]...), ':'), zone[3:]...)
	}
	return append(dst, zone...)
}
