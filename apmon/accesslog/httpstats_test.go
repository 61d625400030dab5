package accesslog

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/httpstats"
)

// This package reads the lines of package httpstats in both formats, with the same
// result, for any request of a client.
func TestReadsLinesOfHTTPStats(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url, agent string
	}{
		"plain":       {"/live/hls/film-720p/1.ts", "vlc"},
		"query":       {"/live/hls/film-720p/1.ts?/x/hls/evil-1/", "vlc"},
		"odd":         {"/live/hls/fi%22lm%0a-720p/%c3%a4", "a \"quoted\\ \x01\x7f ä"},
		"long":        {"/live/hls/film-720p/" + strings.Repeat("%ff", 10_000), strings.Repeat("\xff", 400_000)},
		"no agent":    {"/live/hls/film-720p/1.ts", ""},
		"long escape": {"/live/hls/film-720p/1.ts", strings.Repeat("\x01", 400_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := map[Format][]byte{}
			stats := httpstats.New(httpstats.Options{Log: []func(*httpstats.Record){func(r *httpstats.Record) {
				lines[JSON] = httpstats.AppendJSON(nil, r)
				lines[Combined] = httpstats.AppendCombined(nil, r)
			}}})
			r := httptest.NewRequest("GET", "/", nil)
			r.RequestURI = tt.url
			r.Header.Set("User-Agent", tt.agent)
			r.Header.Set("Referer", tt.agent)
			stats.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1234)) })).ServeHTTP(httptest.NewRecorder(), r)
			var streams []string
			for format, line := range lines {
				if len(line) > maxLine {
					t.Errorf("%v: a line of %d bytes", format, len(line))
				}
				var p parser
				var e entry
				if err := p.parse(format, line, &e); err != nil {
					t.Errorf("%v: %v: %.300s", format, err, line)
					continue
				}
				if string(e.client) != "192.0.2.1" || e.status != 200 || e.bytes != 1234 || time.Since(time.Unix(e.time, 0)) > time.Minute {
					t.Errorf("%v: %+v", format, e)
				}
				path, _, _ := bytes.Cut(e.url, []byte("?"))
				id, _ := matchHLS(path)
				streams = append(streams, string(id.appendKey(nil)))
			}
			if len(streams) == 2 && streams[0] != streams[1] {
				t.Errorf("streams %q", streams)
			}
		})
	}
}

// A client must not be able to create streams with the query.
func TestQueryNamesNoStream(t *testing.T) {
	t.Parallel()
	l, err := New(Options{Input: "-", Host: "h", Preset: HLS})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = true
	now := time.Now()
	l.now = now.Unix() / l.length
	l.next = l.now
	for _, query := range []string{"", "?/-17/", "?/hls/a-b/", "?x=/hls/c-d/"} {
		l.line([]byte(logLine("192.0.2.1", "/live/hls/film-720p/1.ts"+query, now, 1)))
	}
	if len(l.byKey) != 1 || l.own.bad != 0 || l.own.unmatched != 0 {
		t.Errorf("%d streams, %+v", len(l.byKey), l.own)
	}
}
