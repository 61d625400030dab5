package accesslog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/xdr"
)

// logLine returns the line of a request.
func logLine(client, url string, at time.Time, bytes int) string {
	u, _ := json.Marshal(url)
	return fmt.Sprintf(`{"client":%q,"ua":"curl","url":%s,"status":200,"time":%q,"bytes-sent":%d}`, client, u, at.Format(time.RFC3339Nano), bytes)
}

const (
	urlA = "/live/hls/a-hi/1.ts"
	urlB = "/live/hls/b-hi/1.ts"
)

// twoStreams returns options that declare the streams of urlA and urlB.
func twoStreams() Options {
	return Options{Input: "-", Host: "h", IDs: []string{"a,b/hls/hi"}}
}

func newLog(t testing.TB, o Options, opts ...Option) *Log {
	t.Helper()
	l, err := New(o, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// feed counts lines as if they had been read, and marks the input as available.
func feed(l *Log, text ...string) {
	l.current()
	l.datagram([]byte(strings.Join(text, "\n")))
}

// messages returns the messages to send, as "node@seconds name=value ...".
func messages(t testing.TB, l *Log) []string {
	t.Helper()
	var all []string
	err := l.Messages(context.Background(), func(m apmon.Message) error {
		s := fmt.Sprintf("%s@%d", m.Node, m.Time.Unix())
		for i := range m.Params {
			p := &m.Params[i]
			if p.Type() == xdr.TypeString {
				s += fmt.Sprintf(" %s=%s", p.Name, p.Text())
			} else {
				s += fmt.Sprintf(" %s=%v", p.Name, p.Float())
			}
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

// streamReport returns the message of a stream for a window of 15 s, with requests of
// status 2xx, and others of 3xx …, which are not counted as requests.
func streamReport(node string, window time.Time, clients, bytes, requests float64, others ...float64) string {
	s := fmt.Sprintf("%s@%d client_count=%v bytes_sent=%v bytes_sent_R=%v requests=%v requests_R=%v window=15 status_2xx=%v", node, window.Unix(), clients, bytes, bytes/15, requests, requests/15, requests)
	others = append(others, 0, 0, 0)
	return s + fmt.Sprintf(" status_3xx=%v status_4xx=%v status_5xx=%v", others[0], others[1], others[2])
}

func ownReport(window time.Time, unmatched, late, bad, lost float64) string {
	return fmt.Sprintf("h@%d unmatched=%v late=%v bad_lines=%v windows_lost=%v truncated=0", window.Unix(), unmatched, late, bad, lost)
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// totals adds up the sent values, by node and parameter.
type totals struct {
	mu  sync.Mutex
	sum map[string]float64
}

// collect adds the values of the messages to send.
func (s *totals) collect(l *Log) {
	_ = l.Messages(context.Background(), func(m apmon.Message) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sum == nil {
			s.sum = map[string]float64{}
		}
		for i := range m.Params {
			s.sum[m.Node+" "+m.Params[i].Name] += m.Params[i].Float()
		}
		return nil
	})
}

func (s *totals) get() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sum)
}
