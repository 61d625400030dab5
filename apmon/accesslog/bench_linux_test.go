package accesslog

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestLongMillionLines bounds the CPU time of a million lines by that of
// encoding/json, which checks the same lines: measured were 0.7 to 0.8 of it. Both are
// measured in turn, so the speed and the load of the machine do not matter.
func TestLongMillionLines(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector would be measured")
	}
	const part, rounds = 1000, 1000
	_, read := readsLines(t)
	var block []byte
	for i := range part {
		block = appendLine(block, i, 100, time.Now())
	}
	lines := bytes.SplitAfter(block, []byte("\n"))[:part]
	var ours, theirs time.Duration
	start := testkit.CPU()
	for range rounds {
		read(part)
		middle := testkit.CPU()
		for _, line := range lines {
			if !json.Valid(line) {
				t.Fatalf("%s", line)
			}
		}
		end := testkit.CPU()
		ours, theirs, start = ours+middle-start, theirs+end-middle, end
	}
	t.Logf("%d lines take %v of CPU time, encoding/json %v", part*rounds, ours, theirs)
	if limit := theirs * 3 / 2; ours > limit {
		t.Errorf("that is more than %v", limit)
	}
}
