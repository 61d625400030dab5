package accesslog

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

// TestWindowsOfSfive reads 64 recorded lines of nginx in four windows, and compares
// clients, bytes and requests of each stream with recorded results. Those were computed by
// the rules of sfive: an expression anchored at the start of the URL, distinct pairs of
// address and user agent, aligned windows, and zeros for silent streams. The lines of the
// first window arrive 10 s late at once, as from a server that delays its headers.
func TestWindowsOfSfive(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile("testdata/sfive.log")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/sfive.windows")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(log)), "\n")
	if len(lines) != 64 {
		t.Fatalf("%d lines", len(lines))
	}
	synctest.Test(t, func(t *testing.T) {
		l := started(t, Options{Input: "-", Host: "h", IDs: []string{"film,news/hls,dash/hi,lo"}})
		l.asking()
		time.Sleep(10 * time.Second)
		l.connect(true)
		for w := range 4 {
			for _, line := range lines[16*w : 16*w+16] {
				l.datagram([]byte(line))
			}
			time.Sleep(15 * time.Second)
		}
		time.Sleep(time.Minute)
		got := map[string]bool{}
		err := l.Messages(context.Background(), func(m apmon.Message) error {
			v := map[string]float64{}
			for i := range m.Params {
				v[m.Params[i].Name] = m.Params[i].Float()
			}
			if _, ok := v["requests"]; ok {
				got[fmt.Sprintf("%d %s %v %.0f %v", m.Time.Unix(), m.Node, v["client_count"], v["bytes_sent"], v["requests"])] = true
			} else {
				got[fmt.Sprintf("%d %s unmatched %v", m.Time.Unix(), m.Node, v["unmatched"])] = true
				if v["late"]+v["bad_lines"]+v["windows_lost"] != 0 {
					t.Errorf("%v: %v", m.Time, v)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(want)) {
			if line = strings.TrimSpace(line); !got[line] {
				t.Errorf("missing: %s", line)
			}
		}
		if t.Failed() {
			t.Logf("got %v", got)
		}
	})
}
