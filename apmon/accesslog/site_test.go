package accesslog

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

// combinedLine returns a line in Combined Log Format; more follows the user agent.
func combinedLine(client, url string, at time.Time, status, bytes int, more string) string {
	return fmt.Sprintf(`%s - - [%s] "GET %s HTTP/1.1" %d %d "-" "curl"%s`, client, at.Format("02/Jan/2006:15:04:05 -0700"), url, status, bytes, more)
}

// Without an expression the whole site is one stream, in which every status counts. The
// format of each line is recognized.
func TestWholeSite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := started(t, Options{Input: "-", Host: "h", Tags: []apmon.Param{apmon.String("site", "cern")}})
		t0 := time.Now()
		feed(l,
			combinedLine("1", "/", t0, 200, 10, ""),
			logLine("1", "/about?q=1", t0, 20),
			combinedLine("2", "/old", t0, 301, 1, ""),
			combinedLine("3", "/none", t0, 404, 2, ""),
			combinedLine("3", "/none", t0, 404, 2, ""),
			combinedLine("4", "/bug", t0, 500, 3, ""),
			strings.Replace(combinedLine("5", "/", t0, 999, 4, ""), "999", "000", 1), // nginx: no status
			combinedLine("6", "/", t0, 101, 5, ""),
			"nonsense", "{",
		)
		time.Sleep(20 * time.Second)
		equal(t, "site", messages(t, l), []string{
			fmt.Sprintf("h@%d client_count=6 bytes_sent=47 bytes_sent_R=%v requests=8 requests_R=%v window=15 status_2xx=2 status_3xx=1 status_4xx=2 status_5xx=1 site=cern", t0.Unix(), 47/15.0, 8/15.0),
			ownReport(t0, 0, 0, 2, 0) + " site=cern",
		})
		feed(l)
		time.Sleep(15 * time.Second)
		equal(t, "silent", messages(t, l), []string{
			streamReport("h", t0.Add(15*time.Second), 0, 0, 0) + " site=cern", ownReport(t0.Add(15*time.Second), 0, 0, 0, 0) + " site=cern",
		})
	})
}

// A given format is not recognized but required.
func TestFormatGiven(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lines := map[Format]string{JSON: logLine("1", "/", now, 1), Combined: combinedLine("1", "/", now, 200, 1, "")}
	for format, line := range lines {
		for _, given := range []Format{"", Auto, JSON, Combined} {
			l := newLog(t, Options{Input: "-", Host: "h", Format: given, Window: time.Hour})
			l.begin()
			feed(l, " "+line)
			if given == format || given == Auto || given == "" {
				if format == JSON && l.own.bad != 0 {
					t.Errorf("%q, line in %s: bad", given, format)
				}
			} else if l.own.bad != 1 {
				t.Errorf("%q, line in %s: not bad", given, format)
			}
		}
	}
}

// Durations of both formats become percentiles within 2 %.
func TestPercentiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := started(t, Options{Input: "-", Host: "h"})
		t0 := time.Now()
		for i := range 1000 {
			s := float64(i+1) / 1000
			switch i % 3 {
			case 0:
				feed(l, combinedLine("1", "/", t0, 200, 1, fmt.Sprintf(` %.3f %.3f`, s, s/10)))
			case 1:
				feed(l, strings.Replace(logLine("1", "/", t0, 1), "{", fmt.Sprintf(`{"request_time":%.3f,"upstream_response_time":"%.3f",`, s, s/10), 1))
			default:
				feed(l, combinedLine("1", "/", t0, 200, 1, fmt.Sprintf(` rt=%.3f urt="%.4f"`, s, s/10)))
			}
		}
		feed(l, combinedLine("1", "/", t0, 200, 1, ""))
		time.Sleep(20 * time.Second)
		var sums totals
		sums.collect(l)
		for name, want := range map[string]float64{
			"request_time_p50": 500, "request_time_p90": 900, "request_time_p99": 990,
			"upstream_response_time_p50": 50, "upstream_response_time_p90": 90, "upstream_response_time_p99": 99,
		} {
			if got := sums.get()["h "+name]; math.Abs(got/want-1) > 0.021 {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		// A later window without times has no percentiles.
		feed(l, combinedLine("1", "/", time.Now(), 200, 1, ""))
		time.Sleep(15 * time.Second)
		if got := strings.Join(messages(t, l), "\n"); strings.Contains(got, "_p50") {
			t.Errorf("no times: %s", got)
		}
	})
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]durations{
		``:                                  {-1, -1},
		` 0.005`:                            {5, -1},
		` 0.005 0.004`:                      {5, 4},
		` "192.0.2.1" 0.005 "-"`:            {5, -1},
		` "0.1" 512 0.005 -`:                {5, -1},
		` 0.005 - 7.000`:                    {5, -1},
		` 0.005 0.004 7.000`:                {5, 4},
		` rt=0.010 uct="0.001" urt="0.004"`: {10, 4},
		` request_time=1 upstream_response_time=2`: {1000, 2000},
		` request_time_us=2500`:                    {2.5, -1},
		` urt="0.010, 0.200 : 0.030"`:              {-1, 240},
		` urt="-, 0.200"`:                          {-1, 200},
		` rt=- urt=-`:                              {-1, -1},
		` rt=x rt= =`:                              {-1, -1},
		` "rt=0.1`:                                 {-1, -1},
		` 2500`:                                    {-1, -1},
		` time=0.1 rt="0.2"`:                       {200, -1},
		` 99999999999999999999.0`:                  {-1, -1},
	} {
		if got := durationsAfter([]byte(more)); math.Abs(got[0]-want[0]) > 1e-9 || math.Abs(got[1]-want[1]) > 1e-9 {
			t.Errorf("%q: got %v, want %v", more, got, want)
		}
	}
	for field, want := range map[string]durations{
		`"request_time":0.5`: {500, -1},
		`"request_time":"0.5","upstream_response_time":"-"`: {500, -1},
		`"duration":0.25`:                     {250, -1},
		`"request_time_us":1500`:              {1.5, -1},
		`"upstream_response_time":"0.1, 0.2"`: {-1, 300},
		`"request_time":null,"duration":{}`:   {-1, -1},
		`"request_time":-1`:                   {-1, -1},
	} {
		s := scanner{b: []byte("{" + field + "}")}
		if err := s.line(); err != nil {
			t.Fatal(err)
		}
		if got := s.durations(); math.Abs(got[0]-want[0]) > 1e-9 || math.Abs(got[1]-want[1]) > 1e-9 {
			t.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
}

// Any named groups make streams. A client that requests pages that do not exist creates
// none.
func TestNamedGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := Options{Input: "-", Host: "h", Match: `/(?P<site>\w+)/(?P<app>\w+)`, Node: "{site}_{app}", AllStatuses: true}
		l := started(t, o)
		t0 := time.Now()
		feed(l,
			combinedLine("1", "/cern/mail/x", t0, 200, 5, ""),
			combinedLine("2", "/cern/mail/", t0, 500, 5, ""),
			combinedLine("2", "/wp/admin/", t0, 404, 5, ""),
			combinedLine("2", "/", t0, 200, 5, ""),
		)
		time.Sleep(20 * time.Second)
		equal(t, "streams", messages(t, l), []string{
			strings.Replace(streamReport("cern_mail", t0, 2, 10, 2, 0, 0, 1), "status_2xx=2", "status_2xx=1", 1),
			ownReport(t0, 2, 0, 0, 0),
		})
	})
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Match: `/(?P<site>\w+)/(?P<app>\w+)`, IDs: []string{"a,b/c"}}, "h_a_c h_b_c"},
		{Options{Match: `/(?P<site>\w+)`, IDs: []string{"a,b"}}, "h_a h_b"},
		{Options{Match: `/(?P<quality>\w+)(?P<content>x)(?P<format>y)`, IDs: []string{"c/f/q"}}, "h_c_f_q"},
		{Options{IDs: []string{"c/f/q"}}, "h_c_f_q"}, // of the preset
		{Options{Match: "/api/"}, "h"},
		{Options{}, "h"},
		{Options{Preset: HLS}, ""},
	} {
		tt.o.Input, tt.o.Host = "-", "h"
		l := newLog(t, tt.o)
		var nodes []string
		for _, s := range l.streams {
			nodes = append(nodes, s.node)
		}
		if got := strings.Join(nodes, " "); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.o, got, tt.want)
		}
	}
}

// With --accesslog-top the clients and URLs with the most bytes are reported, in bounded
// memory.
func TestTop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := started(t, Options{Input: "-", Host: "h", Top: 2})
		t0 := time.Now()
		feed(l,
			combinedLine("1", "/a?1", t0, 200, 10, ""), combinedLine("1", "/a?2", t0, 200, 10, ""),
			combinedLine("2", `/\x1b[2J`, t0, 200, 15, ""), combinedLine("3", "/c", t0, 404, 5, ""),
		)
		time.Sleep(20 * time.Second)
		own := messages(t, l)[1]
		want := ownReport(t0, 0, 0, 0, 0) + " top_client_1=1 top_client_1_bytes=20 top_client_2=2 top_client_2_bytes=15 top_url_1=/a top_url_1_bytes=20 top_url_2=/\uFFFD[2J top_url_2_bytes=15"
		equal(t, "top", []string{own}, []string{want})

		// One client with half of the bytes is found among many, and never overstated.
		t1 := time.Now()
		for i := range 5000 {
			url := "/x/" + strings.Repeat("y", 1000)
			feed(l, combinedLine(fmt.Sprint("c", i), fmt.Sprintf("/%d%s", i, url), t1, 200, 1, ""))
			if i%50 == 0 {
				feed(l, combinedLine("heavy", "/heavy", t1, 200, 50, ""))
			}
		}
		l.mu.Lock()
		r := &l.top.paths[t1.Unix()/15%slots]
		if len(r.heap) != 2*topKept || len(r.byName) != len(r.heap) {
			t.Errorf("%d and %d URLs kept", len(r.heap), len(r.byName))
		}
		for name := range r.byName {
			if len(name) > maxTopName {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
		l.mu.Unlock()
		time.Sleep(20 * time.Second)
		var sums totals
		sums.collect(l)
		if got := sums.get()["h top_client_1_bytes"]; got < 0.9*100*50 || got > 100*50 {
			t.Errorf("the heaviest client: %v bytes", got)
		}
	})
}

// A hostile log has as many streams, clients, URLs and times as it likes, in bounded memory.
func TestHostileLog(t *testing.T) {
	t.Parallel()
	l := newLog(t, Options{Input: "-", Host: "h", Match: `/(?P<a>[^/]*)`, Top: 5, Window: time.Hour})
	l.begin()
	now := time.Now()
	for i := range 3000 {
		feed(l, combinedLine(fmt.Sprint(i), fmt.Sprintf("/%d", i), now, 200, 1, " 0.1"))
		feed(l, combinedLine(fmt.Sprint(i), fmt.Sprintf("/none%d", i), now, 404, 1, " 0.1"))
	}
	feed(l, combinedLine("c", `/\x1b[2J`, now, 200, 1, ""), combinedLine("c", "/"+strings.Repeat("x", 300), now, 200, 1, ""), combinedLine("c", "/", now, 200, 1, ""))
	if len(l.byKey) != MaxStreams || l.own.unmatched != 2003 || l.own.bad != 0 {
		t.Errorf("%d streams, %+v", len(l.byKey), l.own)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range Metrics() {
		if seen[m.Name] || m.Meaning == "" || strings.HasSuffix(m.Meaning, ".") {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
	// All that is sent is in the table.
	s, r := sum{}, result{top: []ranked{{"top_client_1", "c", 1}, {"top_url_1", "u", 1}}}
	for _, p := range append(s.params(15, nil), r.params(nil)...) {
		if name := strings.Replace(p.Name, "_1", "_N", 1); !seen[name] {
			t.Errorf("%s is not in the table", p.Name)
		}
	}
}

// FuzzSpecial compares the search of eight bytes at a time with a plain one.
func FuzzSpecial(f *testing.F) {
	f.Add([]byte("Mozilla/5.0 (X11)\x1f\" \\"), 3)
	f.Add([]byte("\x80\xff\x21\x22\x20\x5c\x5d\x00"), 0)
	f.Fuzz(func(t *testing.T, b []byte, from int) {
		if from < 0 || from > len(b) {
			return
		}
		want := from
		for want < len(b) && b[want] != '"' && b[want] != '\\' && b[want] >= ' ' {
			want++
		}
		if got := special(b, from); got != want {
			t.Errorf("%q from %d: got %d, want %d", b, from, got, want)
		}
	})
}
