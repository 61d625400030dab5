package accesslog

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestLongMillionLines bounds the CPU time of a million lines of an ordinary site, by
// format, with and without times, by that of encoding/json, which checks a line of about
// the same length: measured were 0.3 to 0.6 of it. Both are measured in turn, so the speed
// and the load of the machine do not matter.
func TestLongMillionLines(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector would be measured")
	}
	const part, rounds = 1000, 1000
	floor := bytes.SplitAfter(siteLines(part, JSON, false), []byte("\n"))[:part]
	for name, format := range map[string]Format{"json": JSON, "combined": Combined} {
		for _, times := range []bool{false, true} {
			l, err := New(Options{Input: "-", Host: "h", Window: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			l.begin()
			block, s := siteLines(part, format, times), newLines(l)
			var ours, theirs time.Duration
			start := testkit.CPU()
			for range rounds {
				for r := bytes.NewReader(block); ; {
					if _, err := s.read(r); err != nil {
						break
					}
				}
				middle := testkit.CPU()
				for _, line := range floor {
					if !json.Valid(line) {
						t.Fatalf("%s", line)
					}
				}
				end := testkit.CPU()
				ours, theirs, start = ours+middle-start, theirs+end-middle, end
			}
			t.Logf("%s, times %v: %d lines take %v of CPU time, encoding/json %v", name, times, part*rounds, ours, theirs)
			if ours > theirs || l.own != (own{}) {
				t.Errorf("that is more, or lines were not counted: %+v", l.own)
			}
		}
	}
}
