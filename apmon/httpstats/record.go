package httpstats

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Record is a request that has ended, for the access log. Its texts are those that the
// client sent, and may hold any bytes: [AppendJSON] and [AppendCombined] escape them. It
// does not hold cookies and the Authorization header. The query and the referer may hold
// secrets: see [Options].Log to remove them.
type Record struct {
	Client    string // address without the port; "unix:" for a unix socket
	Method    string
	Path      string // as the client sent it, without the query
	Query     string // after the question mark
	Protocol  string // such as "HTTP/1.1"
	Status    int    // 0 if none was sent or it is unknown
	Bytes     int64  // sent bytes of the body
	Referer   string
	UserAgent string
	Duration  time.Duration
	Size      int64     // of the resource, in bytes, from Content-Length or Content-Range; -1 if unknown
	First     int64     // first byte of a single range that was sent, from Content-Range; -1 without
	Last      int64     // last byte of it
	Time      time.Time // when it ended, UTC
	User      string    // see [Options]
	Cause     string    // why it did not end well, such as [CauseAborted]; empty if it did
	Fields    []Field   // see [Options].AppendFields
}

// Field is a further field of a record.
type Field struct{ Name, Value string }

// maxFields is the number of bytes of all further fields together, see maxText.
const maxFields = 1 << 10

// fieldNames are the names of the fields of a record in JSON.
var fieldNames = []string{"client", "method", "url", "query", "protocol", "status", "bytes-sent", "referer", "ua", "duration", "size", "range-first", "range-last", "time", "user", "cause"}

// usable returns the fields that fit into a record and have names of their own.
func usable(fields []Field) (kept []Field) {
	left := maxFields
	for _, f := range fields {
		if f.Name == "" || slices.Contains(fieldNames, f.Name) || slices.ContainsFunc(kept, func(k Field) bool { return k.Name == f.Name }) {
			continue
		}
		if left -= len(f.Name) + len(f.Value); left >= 0 {
			kept = append(kept, f)
		}
	}
	return kept
}

// maxText is how many bytes of a text of a request are logged. A client can send up to
// a megabyte. With this limit a line stays below 64 KiB, the maximum of package
// accesslog, even if escapes make all its texts four times as long.
const maxText = 2 << 10

// log calls the loggers with the record of a request. Texts are cut at maxText.
func (w *response) log(r *http.Request, took time.Duration, cause string) {
	client := cmp.Or(r.RemoteAddr, "-")
	if w.client.IsValid() {
		bare := w.client.WithZone("") // networks have none
		for _, p := range w.s.noLog {
			if p.Contains(bare) {
				return
			}
		}
		client = w.client.String()
	} else if onUnixSocket(r) {
		client = "unix:"
	}
	rec := &Record{
		Client: client, Method: cmp.Or(r.Method, http.MethodGet), Protocol: r.Proto,
		Status: int(w.status), Bytes: w.bytes, Referer: r.Referer(), UserAgent: r.UserAgent(),
		Duration: took, Size: w.size, First: w.first, Last: w.last, Time: time.Now().UTC(), Cause: cause,
	}
	rec.Path, rec.Query, _ = strings.Cut(w.uri, "?")
	if w.s.user != nil {
		rec.User = w.s.user(r)
	}
	if w.s.fields != nil {
		rec.Fields = usable(w.s.fields(nil, r))
	}
	for _, text := range []*string{&rec.Method, &rec.Path, &rec.Query, &rec.Protocol, &rec.Referer, &rec.UserAgent, &rec.User} {
		*text = (*text)[:min(len(*text), maxText)]
	}
	for _, log := range w.s.loggers {
		log(rec)
	}
}

// AppendJSON appends a record as one JSON object, without a line end:
//
//	client method url query protocol status bytes-sent referer ua duration size range-first range-last time user cause
//
// and the fields of [Options].AppendFields, as texts.
//
// Package accesslog reads client, url, status, time, ua and bytes-sent. Duration is in
// seconds, time is RFC 3339 in UTC with milliseconds. Unknown and empty fields are left
// out, except client, url and ua; accesslog skips a line without a status. Control characters
// are escaped, and invalid UTF-8 becomes U+FFFD.
func AppendJSON(b []byte, r *Record) []byte {
	b = append(b, '{')
	b = appendText(b, "client", r.Client)
	b = appendOptional(b, "method", r.Method)
	b = appendText(b, "url", r.Path)
	b = appendOptional(b, "query", r.Query)
	b = appendOptional(b, "protocol", r.Protocol)
	if r.Status > 0 {
		b = appendNumber(b, "status", int64(r.Status))
	}
	b = appendNumber(b, "bytes-sent", r.Bytes)
	b = appendOptional(b, "referer", r.Referer)
	b = appendText(b, "ua", r.UserAgent)
	b = appendKey(b, "duration")
	b = strconv.AppendFloat(b, r.Duration.Seconds(), 'f', 6, 64)
	if r.Size >= 0 {
		b = appendNumber(b, "size", r.Size)
	}
	if r.First >= 0 {
		b = appendNumber(b, "range-first", r.First)
		b = appendNumber(b, "range-last", r.Last)
	}
	b = appendKey(b, "time")
	b = append(r.Time.UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05.000Z07:00"), '"')
	b = appendOptional(b, "user", r.User)
	b = appendOptional(b, "cause", r.Cause)
	for _, f := range r.Fields {
		b = append(safetext.AppendJSON(append(b, ','), f.Name), ':')
		b = safetext.AppendJSON(b, f.Value)
	}
	return append(b, '}')
}

func appendKey(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), '"', ':')
}

func appendNumber(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(appendKey(b, name), v, 10)
}

func appendOptional(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return appendText(b, name, v)
}

func appendText(b []byte, name, v string) []byte {
	return safetext.AppendJSON(appendKey(b, name), v)
}

// AppendCombined appends a record in Combined Log Format, without a line end:
//
//	192.0.2.1 - user [21/Nov/2026:03:27:57 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "referer" "user agent"
//
// Unknown values are "-". Quotes, backslashes and all bytes that are not printable
// ASCII become \xHH, as in the logs of nginx, and so do blanks in the client and the
// user.
func AppendCombined(b []byte, r *Record) []byte {
	b = appendEscaped(b, r.Client, ' ')
	b = append(b, " - "...)
	b = appendEscaped(b, r.User, ' ')
	b = r.Time.UTC().AppendFormat(b, " [02/Jan/2006:15:04:05 -0700] \"")
	b = appendEscaped(b, r.Method, ' ')
	b = append(b, ' ')
	b = appendEscaped(b, r.Path, 0)
	if r.Query != "" {
		b = append(b, '?')
		b = appendEscaped(b, r.Query, 0)
	}
	b = append(b, ' ')
	b = appendEscaped(b, r.Protocol, ' ')
	b = append(b, "\" "...)
	if r.Status > 0 {
		b = strconv.AppendInt(b, int64(r.Status), 10)
	} else {
		b = append(b, '-')
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.Bytes, 10)
	b = append(b, " \""...)
	b = appendEscaped(b, r.Referer, 0)
	b = append(b, "\" \""...)
	b = appendEscaped(b, r.UserAgent, 0)
	return append(b, '"')
}

// appendEscaped appends s in one line, with quotes and the byte also escaped, or "-" if
// it is empty.
func appendEscaped(b []byte, s string, also byte) []byte {
	if s == "" {
		return append(b, '-')
	}
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == also {
			b = append(b, '\\', 'x', upper[c>>4], upper[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
