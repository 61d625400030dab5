package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	with := func(field, value string) string {
		fields := map[string]string{"client": `"c"`, "ua": `"u"`, "url": `"/x"`, "status": "200", "time": "1700000000", "bytes-sent": "7"}
		fields[field] = value
		s := "{"
		for _, name := range []string{"client", "ua", "url", "status", "time", "bytes-sent", field} {
			if v := fields[name]; v != "" {
				s += fmt.Sprintf("%q:%s,", name, v)
			}
			delete(fields, name)
		}
		return strings.TrimSuffix(s, ",") + "}"
	}
	want := entry{client: []byte("c"), ua: []byte("u"), url: []byte("/x"), status: 200, bytes: 7, time: 1700000000}
	show := func(e entry) string {
		return fmt.Sprintf("%s|%s|%q|%d|%d|%d", e.client, e.ua, e.url, e.status, e.bytes, e.time)
	}
	agent, url, sent, unanswered := want, want, want, want
	unanswered.status = 0
	agent.ua, url.url, sent.bytes = nil, []byte("/ä\"\\\xff😀\uFFFD\n"), maxBytes
	for _, tt := range []struct {
		line string
		want entry
		err  error
	}{
		{with("x", ""), want, nil},
		{" \t" + with("x", ` [1, {"client": [null, true, false, -1.5e+3, "\u00e4"]}, {}, []] `) + "\r ", want, nil},
		{with("status", `"200"`), want, nil},
		{with("status", ""), unanswered, nil},
		{with("status", `"-"`), unanswered, nil},
		{with("bytes-sent", `"7"`), want, nil},
		{with("bytes-sent", fmt.Sprint(int64(maxBytes))), sent, nil},
		{with("ua", ""), agent, nil},
		{with("ua", "null"), agent, nil},
		{with("url", `"/\u00e4\"\\`+"\xff"+`\ud83d\ude00\ud83d\n"`), url, nil},
		{`{"url":"/no","url":17,` + with("x", "")[1:], want, nil}, // the last one counts
		{with("x", "1,\"url\":null"), entry{}, errURL},
		{with("time", "1700000000.999"), want, nil},
		{with("time", `"1700000000.001"`), want, nil},
		{with("time", `"2023-11-14T22:13:20Z"`), want, nil},
		{with("time", `"2023-11-14T22:13:20.999+00:00"`), want, nil},
		{with("time", `"2023-11-15T03:58:20+05:45"`), want, nil},
		{with("time", `"14/Nov/2023:14:13:20 -0800"`), want, nil},
		{with("time", `"2023-11-14 22:13:20+00:00"`), want, nil},
		{with("time", `"2023-11-14T22:13:20+0000"`), want, nil},
		{with("time", `"2023-11-14T22:13:20+00"`), want, nil},
		{with("time", `"2023-11-14t22:13:20z"`), want, nil},
		{with("time", `"2023-11-14 23:13:20.999 +0100"`), want, nil},
		{with("time", `"2023-11-14 22:13:20,999 UTC"`), want, nil},
		{with("time", `"2023-11-14 22:13:20 GMT"`), want, nil},
		{with("time", `"20231114T221320Z"`), want, nil},
		{with("time", `"20231114T174320.5-0430"`), want, nil},
		{with("time", `"20231114 221320+00:00"`), want, nil},
		{with("time", `"Tue, 14 Nov 2023 22:13:20 GMT"`), want, nil},
		{with("time", `"Tuesday, 14-Nov-23 22:13:20 GMT"`), want, nil},
		{with("time", `"Tue Nov 14 22:13:20 2023"`), want, nil},
		{with("time", `"Tue, 14 Nov 2023 23:13:20 +0100"`), want, nil},
		{with("time", `"2023-11-14T22:13:20"`), entry{}, errTime}, // no zone
		{with("time", `"2023-11-14 22:13:20"`), entry{}, errTime},
		{with("time", `"20231114T221320"`), entry{}, errTime},
		{with("time", `"20231114T2213"`), entry{}, errTime},
		{with("time", `"20231314T221320Z"`), entry{}, errTime},
		{with("time", `"20231114T221320.Z"`), entry{}, errTime},
		{with("time", `"20231114T221320  Z"`), entry{}, errTime},
		{with("time", `"20231114T221320Z!"`), entry{}, errTime},
		{with("time", `"2023-11-14 22:13:20 +01x0"`), entry{}, errTime},
		{with("time", `"2023-11-14 22:13:20+"`), entry{}, errTime},
		{with("time", `"2023-11-14"`), entry{}, errTime},
		{with("time", `"Tue, 14 Nov 2023 22:13:20 CET"`), entry{}, errTime},
		{with("time", `"Tuesday, 14-Nov-23 22:13:20 CET"`), entry{}, errTime},
		{with("time", `"T"`), entry{}, errTime},
		{with("time", `"2023-02-30T22:13:20Z"`), entry{}, errTime},
		{with("time", `-1`), entry{}, errTime},
		{with("time", `1e9`), entry{}, errTime},
		{with("time", `1700000000.`), entry{}, errJSON},
		{with("time", `"1700000000.5x"`), entry{}, errTime},
		{with("time", `""`), entry{}, errTime},
		{with("time", ``), entry{}, errTime},
		{with("time", `99999999999999999999`), entry{}, errTime},
		{with("time", `"`+strings.Repeat("1", 1000)+`"`), entry{}, errTime},
		{with("client", ""), entry{}, errClient},
		{with("client", `""`), entry{}, errClient},
		{with("client", "1"), entry{}, errClient},
		{with("ua", "1"), entry{}, errAgent},
		{with("url", `["/x"]`), entry{}, errURL},
		{with("status", "99"), entry{}, errStatus},
		{with("status", "1000"), entry{}, errStatus},
		{with("status", "-200"), entry{}, errStatus},
		{with("status", "200.0"), entry{}, errStatus},
		{with("status", "true"), entry{}, errStatus},
		{with("bytes-sent", "-1"), entry{}, errBytes},
		{with("bytes-sent", "1e3"), entry{}, errBytes},
		{with("bytes-sent", fmt.Sprint(int64(maxBytes+1))), entry{}, errBytes},
		{with("bytes-sent", "18446744073709551617"), entry{}, errBytes},
		{with("bytes-sent", strings.Repeat("9", 400)), entry{}, errBytes},
		{with("bytes-sent", `"-"`), entry{}, errBytes},
		{with("bytes-sent", "NaN"), entry{}, errJSON},
		{with("bytes-sent", "Infinity"), entry{}, errJSON},
		{with("bytes-sent", "007"), entry{}, errJSON},
		{with("x", strings.Repeat("[", 50_000)), entry{}, errDepth},
		{with("x", strings.Repeat(`{"a":`, 10_000)), entry{}, errDepth},
		{with("x", `"`+"\x01"+`"`), entry{}, errJSON},
		{with("x", `"\x41"`), entry{}, errJSON}, // as nginx writes without escape=json
		{with("x", `"\u12g4"`), entry{}, errJSON},
		{with("x", `"\ud83d\u12"`), entry{}, errJSON},
		{with("x", "") + "{}", entry{}, errJSON},
		{"[" + with("x", "") + "]", entry{}, errJSON},
		{`{"client":"c`, entry{}, errJSON},
		{`{"client":"c\`, entry{}, errJSON},
		{`{"client":"c\u00`, entry{}, errJSON},
		{`{"client" "c"}`, entry{}, errJSON},
		{`{client:"c"}`, entry{}, errJSON},
		{`{"client":"c",}`, entry{}, errJSON},
		{`{"client":"c";}`, entry{}, errJSON},
		{`{,}`, entry{}, errJSON},
		{`{"x":[1,]}`, entry{}, errJSON},
		{`{"x":[1;2]}`, entry{}, errJSON},
		{`{"x":tru}`, entry{}, errJSON},
		{`{"x":1e}`, entry{}, errJSON},
		{`{"x":-}`, entry{}, errJSON},
		{`{}`, entry{}, errClient},
		{"\x00", entry{}, errJSON},
	} {
		var p parser
		var e entry
		err := p.parse(JSON, []byte(tt.line), &e)
		if !errors.Is(err, tt.err) || err == nil && show(e) != show(tt.want) {
			t.Errorf("%.200s: got %s, %v; want %s, %v", tt.line, show(e), err, show(tt.want), tt.err)
		}
	}
}

func TestParseCombined(t *testing.T) {
	t.Parallel()
	const at = `[14/Nov/2023:23:13:20 +0100]`
	for _, tt := range []struct{ line, want string }{
		{`192.0.2.7 - - ` + at + ` "GET /a?b HTTP/1.1" 200 2326 "http://r/" "Mozilla (\"x\")"`, `192.0.2.7|Mozilla (\"x\")|/a?b|200|2326`},
		{`::1 - bob ` + at + ` "GET /a HTTP/1.1" 206 -`, `::1||/a|206|0`},
		{`h - - ` + at + ` "GET /\xC3\xA4\"\\\xZZ HTTP/2.0" 200 1 "-" "-" "more" 1.5`, "h|-|/ä\"\\xZZ|200|1"},
		{`h - - ` + at + ` "\x16\x03\x01" 400 150 "-" "-"`, `h|-||400|150`},
		{`h - - ` + at + ` "" 400 0 "-" "-"`, `h|-||400|0`},
		{`h - - ` + at + ` "GET /a b c HTTP/1.1" 200 1 "-" "-"`, `h|-|/a b c|200|1`},
		{`h - - ` + at + ` "GET /old" 200 1 "-" "-"`, `h|-|/old|200|1`},
		// A client with such a user name cannot forge a line.
		{`h - x [01/Jan/2020:00:00:00 +0000] \"GET /forged HTTP/1.1\" 200 1 ` + at + ` "GET /a HTTP/1.1" 200 5 "-" "-"`, `h|-|/a|200|5`},

		{`h - - [14/Nov/2023:23:13:20] "GET /a HTTP/1.1" 200 1 "-" "-"`, "not in Combined Log Format"},
		{`h - - [99/Nov/2023:23:13:20 +0100] "GET /a HTTP/1.1" 200 1 "-" "-"`, "no time, or not in a known form"},
		{` - - ` + at + ` "GET /a HTTP/1.1" 200 1 "-" "-"`, "no client, or not a text"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 2 1 "-" "-"`, "status is not a number from 100 to 999"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 200 -1 "-" "-"`, "no bytes-sent, or not a number from 0 to 2^50"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 200`, "no bytes-sent, or not a number from 0 to 2^50"},
		{`h - - ` + at + ` "GET /a HTTP/1.1`, "not in Combined Log Format"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 200 1 "-" "M`, "not in Combined Log Format"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 200 1 x "-" "M"`, "not in Combined Log Format"},
		{`h - - ` + at + ` "GET /a HTTP/1.1" 200 1 "-"`, "not in Combined Log Format"},
		{`"`, "not in Combined Log Format"},
		{`\`, "not in Combined Log Format"},
		{`{"client":"c"}`, "not in Combined Log Format"},
	} {
		var p parser
		var e entry
		got := ""
		if err := p.parse(Combined, []byte(tt.line), &e); err != nil {
			got = err.Error()
		} else if got = fmt.Sprintf("%s|%s|%s|%d|%d", e.client, e.ua, e.url, e.status, e.bytes); e.time != 1700000000 {
			t.Errorf("%s: time %d", tt.line, e.time)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

// A time that differs from line to line does not allocate, in the forms with fractions
// of a second.
func TestParseTimeAllocates(t *testing.T) {
	for _, s := range []string{"2023-11-14T22:13:20.123Z", "2023-11-14 22:13:20,123+0000", "20231114T221320.123+00", "1700000000.123"} {
		b := []byte(s)
		if n := testing.AllocsPerRun(100, func() { parseTime(b) }); n > 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

// FuzzJSON compares the scanner with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		logLine("192.0.2.1", urlA, time.Unix(1700000000, 0), 12),
		`{"client":"\u00e4\ud83d\ude00\ud83d\ude0x\"\\\/\b\f\n\r\t","url":"\udc00","x":[{"a":[-0.5e+10,true,false,null]}],"time":1e5}`,
		`{"client":null,"client":1,"ua":{},"url":[],"status":"200","bytes-sent":-0,"time":""}`,
		`{"client":"a"}{}`, " { } ", `{"a":01}`, "{\"a\":\"\x80\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s := scanner{b: line}
		err := s.line()
		if err == errDepth {
			return
		}
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		theirs := json.Unmarshal(line, &want) // an error also for text after the object
		if theirs == nil {
			want = nil
			theirs = d.Decode(&want)
		}
		if (err == nil) != (theirs == nil && want != nil) {
			t.Fatalf("%q: %v, encoding/json: %v", line, err, theirs)
		}
		if err != nil {
			return
		}
		for i, name := range []string{"client", "ua", "url", "status", "time", "bytes-sent"} {
			v := s.fields[i]
			ok := false
			switch w := want[name].(type) {
			case nil:
				ok = v.kind == absent
			case string:
				// The scanner keeps invalid UTF-8.
				ok = v.kind == text && string([]rune(string(v.b))) == w
			case json.Number:
				ok = v.kind == number && string(v.b) == string(w)
			default:
				ok = v.kind == other
			}
			if !ok {
				t.Fatalf("%q: %s is %q (%d), encoding/json: %v", line, name, v.b, v.kind, want[name])
			}
		}
	})
}

// FuzzLines parses any input in both formats. The parser must not panic, nor accept an
// invalid entry.
func FuzzLines(f *testing.F) {
	f.Add([]byte(logLine("192.0.2.1", urlA, time.Unix(1700000000, 0), 12)), false)
	f.Add([]byte(`192.0.2.7 - - [14/Nov/2023:23:13:20 +0100] "GET /a\x20\\ HTTP/1.1" 200 2326 "-" "Mozilla"`), true)
	f.Fuzz(func(t *testing.T, line []byte, combined bool) {
		format := JSON
		if combined {
			format = Combined
		}
		var p parser
		var e entry
		if err := p.parse(format, line, &e); err != nil {
			return
		}
		if len(e.client) == 0 || e.status != 0 && (e.status < 100 || e.status > 999) || e.bytes < 0 || e.bytes > maxBytes {
			t.Errorf("%q: %+v", line, e)
		}
		if utf8.Valid(line) && format == JSON && !utf8.Valid(e.url) {
			t.Errorf("%q: url %q", line, e.url)
		}
	})
}
