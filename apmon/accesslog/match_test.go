package accesslog

import (
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

func show(id identity, ok bool) string {
	if !ok {
		return "none"
	}
	return string(id[0]) + "|" + string(id[1]) + "|" + string(id[2])
}

func TestMatchHLS(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"/live/hls/cam-720p/1.ts":                 "cam|hls|720p",
		"/live/dash/a-b/c-720p/seg-1-2.m4s?x=1-2": "a-b/c|dash|720p",
		"/a/hls/hls/dash/x-y/":                    "hls/dash/x|hls|y",
		"/a/dash/x/hls/cam-hi/1":                  "x/hls/cam|dash|hi",
		"/a/dash/-/hls/cam-hi/1":                  "-/hls/cam|dash|hi",
		"/dash/hls/-1/hls/-2/dash/c-3/x":          "-1/hls/-2/dash/c|hls|3",
		"/\n/hls/cam-720p/1.ts":                   "cam|hls|720p",
		"http://host/live/hls/cam-720p/1.ts":      "none", // matches, but not from the beginning
		"/tv/live/hls/cam-720p/1.ts":              "none",
		"live/hls/cam-720p/1.ts":                  "none",
		"//live/hls/cam-720p/1.ts":                "none",
		"/":                                       "none",
		"/live/":                                  "none",
		"/live/hls/cam-720p":                      "none",
		"/live/hls/-720p/1.ts":                    "none",
		"/live/hls/cam-/1.ts":                     "none",
		"/hls/cam-720p/1.ts":                      "none",
		"//hls/cam-720p/1.ts":                     "none",
		"/live/hlsx/cam-720p/1.ts":                "none",
		"/live/hls/":                              "none",
		"":                                        "none",
		"/live/hls/cam\n-a-720p\n/1":              "none",
		"/live/hls/cam-720p\n/1":                  "cam|hls|720p\n",
	} {
		if got := show(matchHLS([]byte(url))); got != want {
			t.Errorf("%q: got %q, want %q", url, got, want)
		}
	}
}

// FuzzMatchHLS compares the matcher with package regexp.
func FuzzMatchHLS(f *testing.F) {
	for _, s := range []string{"/live/hls/a-b/c", "/x/dash/a-b-c/d/e-f/g", "//hls/hls/dash/a-/-b/", "/a/hls/\n-b/c-d/", "\xff/\xff/hls/\xff-\xff/"} {
		f.Add(s)
	}
	byExpr, _, err := matchExpr(HLSMatch)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if got, want := show(matchHLS([]byte(url))), show(byExpr([]byte(url))); got != want {
			t.Errorf("%q: got %q, want %q", url, got, want)
		}
	})
}

// A user's expression must match from the beginning of a URL too.
func TestMatchIsAnchored(t *testing.T) {
	t.Parallel()
	const stream = `/(?P<content>[^/-]+)-(?P<quality>\w+)\.(?P<format>ts|mpd)`
	for _, tt := range []struct{ match, url, want string }{
		{stream, "/cam-hi.ts", "cam|ts|hi"},
		{stream, "/cam-hi.ts/more", "cam|ts|hi"},
		{stream, "/vod/cam-hi.ts", "none"},
		{stream, "\n/cam-hi.ts", "none"},
		{"^" + stream, "/cam-hi.ts", "cam|ts|hi"},
		{"(?m)^" + stream, "x\n/cam-hi.ts", "none"},
		{".*" + stream, "/vod/cam-hi.ts", "cam|ts|hi"},
		{"/x|" + stream, "/vod/cam-hi.ts", "none"}, // each alternative
		{"/x|" + stream, "/cam-hi.ts", "cam|ts|hi"},
		{"(?i)/VOD" + stream + "|/x", "/vod/cam-HI.TS", "cam|TS|HI"},
	} {
		match, _, err := newMatcher(tt.match)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(match([]byte(tt.url))); got != tt.want {
			t.Errorf("%s, %q: got %q, want %q", tt.match, tt.url, got, tt.want)
		}
	}
}

// matchWork is the maximum ratio of the times for URLs of 60 KiB and of 6 KiB: ten, and
// a factor of two for the load of the machine.
const matchWork = 2 * 10

// The time for a URL is proportional to its length, even for a hostile URL.
func TestMatchIsLinear(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"/hls", "/hls/-", "/hls-", "-/hls", "/x/hls/a-b/\n", "/hls/\n-", "\n-/", "-", "/x/hls/\n---"} {
		for _, head := range []string{"", "/x/hls/\n", "/x/hls/a\n-"} {
			// The two lengths alternate, and the shortest time of several rounds
			// counts: other processes only make rounds slower.
			small, large := time.Hour, time.Hour
			for range 200 {
				small = min(small, matchTakes(head, s, 6<<10))
				large = min(large, matchTakes(head, s, 60<<10))
				if large <= matchWork*small+100*time.Microsecond {
					break
				}
			}
			if large > matchWork*small+100*time.Microsecond {
				t.Errorf("%q, then %q…: %v for 6 KiB, %v for 60", head, s, small, large)
			}
		}
	}
}

// matchTakes returns the time of the default expression for a URL of n bytes.
func matchTakes(head, repeated string, n int) time.Duration {
	url := []byte(head + strings.Repeat(repeated, n/len(repeated)))
	start := time.Now()
	matchHLS(url)
	return time.Since(start)
}

func TestDeclared(t *testing.T) {
	t.Parallel()
	ids, err := declared([]string{"a, b/hls,dash/1,2", "c/d/hls/3"}, hlsGroups)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range ids {
		got = append(got, show(id, true))
	}
	equal(t, "identities", got, []string{
		"a|hls|1", "b|hls|1", "a|dash|1", "b|dash|1", "a|hls|2", "b|hls|2", "a|dash|2", "b|dash|2", "c/d|hls|3",
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	hundred := strings.Repeat("x,", 99) + "x"
	for _, tt := range []struct {
		o    Options
		says string
	}{
		{Options{}, "no input"},
		{Options{Input: "unixgram:"}, "unixgram"},
		{Options{Input: "ftp://user:secret@h/"}, "not an http or https URL"},
		{Options{Input: "http://user:secret@h:x/%zz"}, "not an http or https URL"},
		{Options{Input: "-", Format: "xml"}, `"xml"`},
		{Options{Input: "-", Match: "("}, "missing closing"},
		{Options{Input: "-", Match: "(?P<content>a)(?P<format>b)(?P<quality>c))(?:"}, "unexpected )"},
		{Options{Input: "-", Match: "(?P<host>a)"}, "{host} is the host name"},
		{Options{Input: "-", Match: "(?P<a>)(?P<b>)(?P<c>)(?P<d>)(?P<e>)(?P<f>)(?P<g>)(?P<h>)(?P<i>)"}, "more than 8 named groups"},
		{Options{Input: "-", Match: "/(?P<a>x)", Node: "{b}"}, `"{b}"`},
		{Options{Input: "-", Match: "/x", IDs: []string{"a"}}, "named groups"},
		{Options{Input: "-", Match: "/(?P<site>x)/(?P<app>y)", IDs: []string{"a"}}, "site,.../app,..."},
		{Options{Input: "-", Preset: "mp4"}, `"mp4"`},
		{Options{Input: "-", Top: -1}, "top -1"},
		{Options{Input: "-", Top: MaxTop + 1}, "top 101"},
		{Options{Input: "-", Tags: []apmon.Param{apmon.String("requests", "x")}}, "has that name"},
		{Options{Input: "-", Tags: []apmon.Param{apmon.String("top_x", "x")}}, "has that name"},
		{Options{Input: "-", Tags: []apmon.Param{apmon.String("a", "x"), apmon.String("a", "y")}}, "has that name"},
		{Options{Input: "-", Tags: []apmon.Param{apmon.String("", "x")}}, "tag"},
		{Options{Input: "-", IDs: []string{"a/b"}}, `"a/b" is not of the form`},
		{Options{Input: "-", IDs: []string{"a/b/c,"}}, "empty name"},
		{Options{Input: "-", IDs: []string{hundred + "/" + hundred + "/" + hundred}}, "more than 1000"},
		{Options{Input: "-", IDs: []string{contents(900), contents(101)}}, "more than 1000"},
		{Options{Input: "-", Statuses: []int{200, 20}}, "status 20 "},
		{Options{Input: "-", Window: 1500e6}, "1.5s"},
		{Options{Input: "-", Window: 1e6}, "1ms"},
		{Options{Input: "-", Window: -1e9}, "-1s"},
		{Options{Input: "-", Node: "{name}"}, `"{name}"`},
		{Options{Input: "-", Node: " ", IDs: []string{"a/b/c"}}, "node"},
		{Options{Input: "-", Host: " "}, "host"},
	} {
		_, err := New(tt.o)
		if err == nil || !strings.HasPrefix(err.Error(), "accesslog: ") || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.200v: got %v, want %q", tt.o, err, tt.says)
		}
	}
}
