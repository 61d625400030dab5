package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/testkit"
)

// chunks is a reader of lines that are made when they are read.
type chunks struct {
	buf  []byte
	line func(b []byte, i int) []byte
	i, n int
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.buf) < len(p) && c.i < c.n {
		c.buf = c.line(c.buf, c.i)
		c.i++
	}
	n := copy(p, c.buf)
	c.buf = c.buf[:copy(c.buf, c.buf[n:])]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// contents returns a declaration of n streams.
func contents(n int) string {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, ",c%d", i)
	}
	return b.String()[1:] + "/hls/720p"
}

// appendLine appends line i of a log in the format of nginx, with n streams and a new
// client for each line.
func appendLine(b []byte, i, n int, at time.Time) []byte {
	b = append(b, `{"client":"2001:db8::`...)
	b = strconv.AppendInt(b, int64(i>>16), 16)
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(i&0xffff), 16)
	b = append(b, `","ua":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36","url":"/live/hls/c`...)
	b = strconv.AppendInt(b, int64(i%n), 10)
	b = append(b, `-720p/segment_`...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(b, `.ts","status":200,"time":"`...)
	b = at.AppendFormat(b, time.RFC3339)
	b = append(b, `","bytes-sent":`...)
	b = strconv.AppendInt(b, int64(1000000+i), 10)
	return append(b, "}\n"...)
}

// siteLines returns n lines of an ordinary site, with 1000 pages, times or not.
func siteLines(n int, format Format, times bool) []byte {
	const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
	at := time.Now()
	var b []byte
	for i := range n {
		status := []int{200, 200, 200, 304, 404}[i%5]
		if format == Combined {
			b = fmt.Appendf(b, `192.0.%d.%d - - [%s] "GET /articles/%d/page.html?x=%d HTTP/1.1" %d %d "https://www.example.org/articles/index.html" "%s"`, i>>8&0xff, i&0xff, at.Format("02/Jan/2006:15:04:05 -0700"), i%1000, i, status, 1000+i, agent)
			if times {
				b = fmt.Appendf(b, " 0.%03d 0.%03d", i%1000, i%500)
			}
		} else {
			b = fmt.Appendf(b, `{"client":"192.0.%d.%d","ua":"%s","url":"/articles/%d/page.html?x=%d","status":%d,"time":"%s","bytes-sent":%d`, i>>8&0xff, i&0xff, agent, i%1000, i, status, at.Format(time.RFC3339), 1000+i)
			if times {
				b = fmt.Appendf(b, `,"request_time":"0.%03d","upstream_response_time":"0.%03d"`, i%1000, i%500)
			}
			b = append(b, '}')
		}
		b = append(b, '\n')
	}
	return b
}

// readsLines returns a Log and a function that makes it read n lines. The lines are
// made in advance: 100 000, each with its own URL and client.
func readsLines(tb testing.TB) (l *Log, read func(n int)) {
	const ready, part = 100_000, 1000
	l, err := New(Options{Input: "-", Host: "h", IDs: []string{contents(100)}, Window: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	l.begin()
	var parts [ready / part][]byte
	for i := range ready {
		parts[i/part] = appendLine(parts[i/part], i, 100, time.Now())
	}
	s, next := newLines(l), 0
	return l, func(n int) {
		for range n / part {
			r := bytes.NewReader(parts[next%len(parts)])
			next++
			for {
				if _, err := s.read(r); err != nil {
					break
				}
			}
		}
	}
}

// BenchmarkLines reads 1000 lines.
func BenchmarkLines(b *testing.B) {
	l, read := readsLines(b)
	b.ReportAllocs()
	for b.Loop() {
		read(1000)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*1000, "s/1e6-lines")
	if l.own != (own{}) {
		b.Errorf("lines not counted: %+v", l.own)
	}
}

// BenchmarkLine measures the time of a line, by format and expression.
func BenchmarkLine(b *testing.B) {
	at := time.Now()
	json := bytes.TrimSuffix(appendLine(nil, 7, 10, at), []byte("\n"))
	combined := fmt.Appendf(nil, `192.0.2.7 - - [%s] "GET /live/hls/c7-720p/segment_1.ts HTTP/1.1" 200 1000000 "-" "Mozilla/5.0 (X11; Linux x86_64)"`, at.Format("02/Jan/2006:15:04:05 -0700"))
	for _, tt := range []struct {
		name string
		line []byte
		o    Options
	}{
		{"json", json, Options{}},
		{"combined", combined, Options{}},
		{"site-json", bytes.TrimSpace(siteLines(1, JSON, false)), Options{}},
		{"site-json-times", bytes.TrimSpace(siteLines(1, JSON, true)), Options{}},
		{"site-combined", bytes.TrimSpace(siteLines(1, Combined, false)), Options{}},
		{"site-combined-times", bytes.TrimSpace(siteLines(1, Combined, true)), Options{}},
		{"json-regexp", json, Options{Match: "(?:" + HLSMatch + ")"}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			tt.o.Input, tt.o.Host, tt.o.Window = "-", "h", time.Hour
			if !strings.HasPrefix(tt.name, "site") {
				tt.o.IDs = []string{contents(10)}
			}
			l, err := New(tt.o)
			if err != nil {
				b.Fatal(err)
			}
			l.begin()
			b.ReportAllocs()
			for b.Loop() {
				l.line(tt.line)
			}
			if l.own != (own{}) {
				b.Errorf("lines not counted: %+v", l.own)
			}
		})
	}
}

// TestLongTenMillionClients counts 10 000 000 clients in each of two open windows, of
// 1 stream and of MaxStreams streams. It checks the memory of the whole process and
// the error of the counts.
func TestLongTenMillionClients(t *testing.T) {
	testkit.SkipLong(t)
	if os.Getenv("APMON_ALONE") == "" {
		// In a separate process: other tests have used memory of this one.
		cmd := exec.Command(os.Args[0], "-test.run=^TestLongTenMillionClients$", "-test.v")
		cmd.Env = append(os.Environ(), "APMON_ALONE=1")
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error(err)
		}
		return
	}
	const n, limit = 10_000_000, 50 << 20
	for _, streams := range []int{1, MaxStreams} {
		l, err := New(Options{Input: "-", Host: "h", IDs: []string{contents(streams)}, Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		base := time.Now().Truncate(time.Hour)
		l.clock = func() time.Time { return base.Add(time.Hour) }
		l.begin()
		l.next--
		for w, at := range []time.Time{base, base.Add(time.Hour)} {
			from := time.Now()
			src := &chunks{n: n, line: func(b []byte, i int) []byte { return appendLine(b, i, streams, at) }}
			s := newLines(l)
			for {
				if _, err := s.read(src); err != nil {
					break
				}
			}
			t.Logf("%d streams, window %d: %v", streams, w, time.Since(from))
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d streams: %.1f MB from the system", streams, float64(m.Sys)/(1<<20))
		if m.Sys > limit {
			t.Errorf("%d bytes from the system, limit is %d", m.Sys, limit)
		}
		l.clock = func() time.Time { return base.Add(3 * time.Hour) }
		sum, windows := 0.0, 0
		if err := l.Messages(context.Background(), func(m apmon.Message) error {
			if p := &m.Params[0]; p.Name == "client_count" {
				sum += p.Float()
				windows++
				if e := p.Float()/(n/float64(streams)) - 1; e < -0.06 || e > 0.06 {
					t.Errorf("%s: %v clients, an error of %.1f %%", m.Node, p.Float(), 100*e)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if e := sum/(2*n) - 1; windows != 2*streams || e < -0.04 || e > 0.04 {
			t.Errorf("%v clients in %d windows of streams", sum, windows)
		}
	}
}
