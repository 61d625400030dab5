package accesslog

import (
	"bytes"
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// cpuTime returns the CPU time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

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
	start := cpuTime(t)
	for range rounds {
		read(part)
		middle := cpuTime(t)
		for _, line := range lines {
			if !json.Valid(line) {
				t.Fatalf("%s", line)
			}
		}
		end := cpuTime(t)
		ours, theirs, start = ours+middle-start, theirs+end-middle, end
	}
	t.Logf("%d lines take %v of CPU time, encoding/json %v", part*rounds, ours, theirs)
	if limit := theirs * 3 / 2; ours > limit {
		t.Errorf("that is more than %v", limit)
	}
}
