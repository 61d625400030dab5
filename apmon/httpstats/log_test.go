package httpstats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func aRecord() *Record {
	return &Record{
		Client: "192.0.2.1", Method: "GET", Path: "/hls/film-720p/1.ts", Query: "a=b&c", Protocol: "HTTP/1.1",
		Status: 206, Bytes: 100, Referer: "https://example.org/", UserAgent: "vlc/3.0", Duration: 1500 * time.Millisecond,
		Size: 1000, First: 0, Last: 99, Time: time.Date(2026, 11, 21, 3, 27, 57, 120e6, time.UTC), User: "alice",
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	unknown := &Record{Client: "fe80::1%eth0", Method: "GET", Path: "/", Protocol: "HTTP/2.0", Size: -1, First: -1, Last: -1,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}
	for _, c := range []struct {
		format func([]byte, *Record) []byte
		r      *Record
		want   string
	}{
		{AppendJSON, aRecord(), `{"client":"192.0.2.1","method":"GET","url":"/hls/film-720p/1.ts","query":"a=b&c","protocol":"HTTP/1.1","status":206,"bytes-sent":100,"referer":"https://example.org/","ua":"vlc/3.0","duration":1.500000,"size":1000,"range-first":0,"range-last":99,"time":"2026-11-21T03:27:57.120Z","user":"alice"}`},
		{AppendJSON, unknown, `{"client":"fe80::1%eth0","method":"GET","url":"/","protocol":"HTTP/2.0","bytes-sent":0,"ua":"","duration":0.000000,"time":"2026-01-02T02:04:05.000Z"}`},
		{AppendCombined, aRecord(), `192.0.2.1 - alice [21/Nov/2026:03:27:57 +0000] "GET /hls/film-720p/1.ts?a=b&c HTTP/1.1" 206 100 "https://example.org/" "vlc/3.0"`},
		{AppendCombined, unknown, `fe80::1%eth0 - - [02/Jan/2026:02:04:05 +0000] "GET / HTTP/2.0" - 0 "-" "-"`},
	} {
		if got := string(c.format([]byte("> "), c.r)); got != "> "+c.want {
			t.Errorf("got  %s\nwant > %s", got, c.want)
		}
	}
}

// No text of a client starts a second line, ends its field, or reaches a terminal
// unescaped.
func TestLogInjection(t *testing.T) {
	t.Parallel()
	evil := "x\" 200 1\n10.0.0.1 - - [\\\x1b[2J\x00\x7f\u009b\u2028\xff é"
	r := aRecord()
	r.Client, r.Method, r.Path, r.Query, r.Protocol, r.Referer, r.UserAgent, r.User = evil, evil, evil, evil, evil, evil, evil, evil
	const esc = `x\x22 200 1\x0A10.0.0.1 - - [\x5C\x1B[2J\x00\x7F\xC2\x9B\xE2\x80\xA8\xFF \xC3\xA9`
	word := strings.ReplaceAll(esc, " ", `\x20`)
	want := word + " - " + word + ` [21/Nov/2026:03:27:57 +0000] "` + word + " " + esc + "?" + esc + " " + word + `" 206 100 "` + esc + `" "` + esc + `"`
	if got := string(AppendCombined(nil, r)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	line := AppendJSON(nil, r)
	for _, c := range string(line) {
		if c < 0x20 || c >= 0x7f && c < 0xa0 || c == '\u2028' {
			t.Errorf("%q in %s", c, line)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"client", "method", "url", "query", "protocol", "referer", "ua", "user"} {
		if m[key] != strings.ToValidUTF8(evil, "\ufffd") {
			t.Errorf("%s: %q", key, m[key])
		}
	}
}

var combined = regexp.MustCompile(`^(\S+) - (\S+) \[02/Jan/2026:03:04:05 \+0000\] "(\S+) ([^"]*) (\S+)" 200 0 "([^"]*)" "([^"]*)"$`)

func FuzzFormats(f *testing.F) {
	f.Add("a", "GET", "/", "x=1", "ua")
	f.Add("a b", "\"", "\\x22", "\n\r", "\xff\u2028\U0001f600")
	f.Fuzz(func(t *testing.T, client, method, uri, query, ua string) {
		r := &Record{Client: client, Method: method, Path: uri, Query: query, Protocol: "HTTP/1.1", UserAgent: ua, User: client,
			Status: 200, Size: -1, First: -1, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		line := AppendJSON(nil, r)
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil || !utf8.Valid(line) {
			t.Fatalf("%s: %v", line, err)
		}
		// json replaces each bad byte, as range does.
		for key, v := range map[string]string{"client": client, "url": uri, "ua": ua} {
			if m[key] != string([]rune(v)) {
				t.Errorf("%s: %q, want %q", key, m[key], v)
			}
		}
		fields := combined.FindStringSubmatch(string(AppendCombined(nil, r)))
		if fields == nil {
			t.Fatalf("not in the format: %s", AppendCombined(nil, r))
		}
		if got := unescape(t, fields[7]); got != ua && !(ua == "" && got == "-") {
			t.Errorf("user agent %q, want %q", got, ua)
		}
	})
}

func unescape(t *testing.T, s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil || s[i+1] != 'x' {
			t.Fatalf("%s: %v", s, err)
		}
		b = append(b, byte(n))
		i += 3
	}
	return string(b)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	var first, second *Record
	s := New(Options{
		Log: []func(*Record){
			func(r *Record) { c := *r; first = &c; r.Query = "" },
			func(r *Record) { second = r },
		},
		User: func(r *http.Request) string { return r.Header.Get("X-User") },
	})
	req := httptest.NewRequest("POST", "/a%20b/c?token=secret?", nil)
	req.RemoteAddr = "[::ffff:192.0.2.7]:1234"
	req.Header.Set("User-Agent", "ua")
	req.Header.Set("Referer", "ref")
	req.Header.Set("X-User", "bob")
	req.SetBasicAuth("name", "password")
	before := time.Now()
	s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/changed"
		w.WriteHeader(201)
		io.WriteString(w, "hello")
	})).ServeHTTP(httptest.NewRecorder(), req)
	if first.Time.Before(before) || first.Time.Location() != time.UTC || first.Duration <= 0 {
		t.Errorf("%+v", first)
	}
	want := Record{Client: "192.0.2.7", Method: "POST", Path: "/a%20b/c", Query: "token=secret?", Protocol: "HTTP/1.1", Status: 201, Bytes: 5,
		Referer: "ref", UserAgent: "ua", Duration: first.Duration, Size: -1, First: -1, Last: -1, Time: first.Time, User: "bob"}
	if !reflect.DeepEqual(*first, want) {
		t.Errorf("got  %+v\nwant %+v", *first, want)
	}
	if second.Query != "" {
		t.Errorf("query %q", second.Query)
	}
	if all := fmt.Sprint(*first); strings.Contains(all, "password") || strings.Contains(all, req.Header.Get("Authorization")) {
		t.Errorf("a secret in %s", all)
	}
}

func TestURIOfOddRequests(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"GET /x":                         {"/x", ""},
		"GET //x/../y?":                  {"//x/../y", ""},
		"GET http://u:secret@h/p?q":      {"/p", "q"},
		"CONNECT host:443":               {"host:443", ""},
		"OPTIONS *":                      {"*", ""},
		"GET /u?next=http://h/?x&b=%zz#": {"/u", "next=http://h/?x&b=%zz#"},
	} {
		var got *Record
		s := New(Options{Log: []func(*Record){func(r *Record) { got = r }}})
		method, uri, _ := strings.Cut(in, " ")
		req := httptest.NewRequest(method, uri, nil)
		s.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), req)
		if got.Path != want[0] || got.Query != want[1] {
			t.Errorf("%s: %q %q", in, got.Path, got.Query)
		}
		s.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if r := s.Snapshot().Active[0]; r.Path != want[0] {
				t.Errorf("%s in progress: %q", in, r.Path)
			}
		})).ServeHTTP(httptest.NewRecorder(), req)
	}
	var got *Record
	s := New(Options{Log: []func(*Record){func(r *Record) { got = r }}})
	s.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), &http.Request{})
	if got.Method != "GET" || got.Path != "" {
		t.Errorf("an empty request: %+v", got)
	}
	req, _ := http.NewRequest("", "http://h/made?by=hand", nil)
	s.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), req)
	if got.Method != "GET" || got.Path != "/made" || got.Query != "by=hand" || got.Client != "-" {
		t.Errorf("%+v", got)
	}
}

func TestNetworksThatAreNotLogged(t *testing.T) {
	t.Parallel()
	logged := map[string]bool{}
	var now string
	s := New(Options{
		Log:   []func(*Record){func(*Record) { logged[now] = true }},
		NoLog: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::ffff:192.0.2.0/120"), {}},
	})
	all := map[string]bool{
		"10.1.2.3:1": false, "[::ffff:10.1.2.3]:1": false, "11.1.2.3:1": true, "[fe80::1%eth0]:1": false,
		"192.0.2.9:1": false, "192.0.3.9:1": true, "[2001:db8::1]:1": true, "nonsense": true,
	}
	for remote, want := range all {
		now = remote
		req := httptest.NewRequest("GET", "/", nil)
		req.RemoteAddr = remote
		s.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), req)
		if logged[remote] != want {
			t.Errorf("%s: logged %v", remote, logged[remote])
		}
	}
	expect(t, s, map[string]float64{"resp_4xx": float64(len(all))})
}

func numbered(b []byte, r *Record) []byte { return strconv.AppendInt(b, r.Bytes, 10) }

func TestReopenLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLogFile(path, numbered)
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines, rotations = 4, 500, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				l.Log(&Record{Bytes: int64(w*lines + i)})
			}
		})
	}
	for i := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	l.Log(&Record{})
	if n, err := l.Errors(); n != 1 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %d, %v", n, err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reopen after Close: %v", err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != rotations+1 {
		t.Errorf("%q, %v", files, err)
	}
	seen := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			seen[line]++
		}
	}
	if len(seen) != writers*lines+1 || seen["before\n"] != 1 || seen["1999\n"] != 1 {
		t.Errorf("%d lines", len(seen))
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%q: %d times", line, n)
		}
	}
}

func TestReopenFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "access.log")
	l, err := OpenLogFile(path, numbered)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	l.Log(&Record{Bytes: 7})
	if b, err := os.ReadFile(filepath.Join(dir+".old", "access.log")); string(b) != "7\n" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := OpenLogFile(path, numbered); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("open: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	l, err := OpenLogFile("/dev/full", AppendJSON)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	defer l.Close()
	s := New(Options{Log: []func(*Record){l.Log}})
	for range 3 {
		if w := do(s, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }); w.Code != 200 || w.Body.String() != "hello" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	}
	if n, err := l.Errors(); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d lines lost, %v", n, err)
	}
}

// A partly written line does not affect the next line.
func TestTornLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := OpenLogFile(path, numbered)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.f.WriteString("12"); err != nil {
		t.Fatal(err)
	}
	l.torn = true
	l.Log(&Record{Bytes: 3})
	l.Log(&Record{Bytes: 4})
	if b, err := os.ReadFile(path); string(b) != "12\n3\n4\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// One request waits for a disk that hangs. The others do not wait, and the number of
// pending lines is bounded.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "log")
	l, err := OpenLogFile(path, func(b []byte, r *Record) []byte {
		return append(b, bytes.Repeat([]byte{'x'}, int(r.Bytes))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	l.f = w
	const long = 200_000 // more than a pipe holds
	first := make(chan struct{})
	go func() {
		defer close(first)
		l.Log(&Record{Bytes: long})
	}()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil { // the first line is being written
		t.Fatal(err)
	}
	const lines = 8
	for range lines {
		l.Log(&Record{Bytes: long})
	}
	select {
	case <-first:
		t.Error("written to a full pipe")
	default:
	}
	kept := maxPending / (long + 1)
	if n, err := l.Errors(); n != uint64(lines-kept) || err == nil {
		t.Errorf("%d lines lost, %v", n, err)
	}
	closed := make(chan error)
	go func() { closed <- l.Close() }()
	b, err := io.ReadAll(r)
	if err != nil || len(b) != (kept+1)*(long+1)-1 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-first
}
