// Package testkit holds helpers that the tests of several packages share: waiting
// for a condition, UDP listeners, a log that tests read, idle child processes,
// cgroups, and whether the race detector is on.
package testkit

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits before it fails. It is long because the
// machine may be busy; a test that passes never takes that long.
const Patience = time.Minute

// Eventually waits in real time until ok returns true. It fails the test after
// [Patience]; what names the condition in the message.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", Patience, what)
		}
	}
}

// SkipLong skips a test that takes long, unless the environment has
// APMON_LONG_TESTS set, as in CI. Such tests are named TestLong….
func SkipLong(t testing.TB) {
	t.Helper()
	if os.Getenv("APMON_LONG_TESTS") == "" {
		t.Skip("takes long: APMON_LONG_TESTS=1 runs it")
	}
}

// Log is a buffer for log output. It is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Count returns how often s occurs in the output.
func (l *Log) Count(s string) int { return strings.Count(l.String(), s) }

// A Value is a number that may be unknown, such as a procinfo.Value.
type Value interface {
	~struct {
		V  float64
		OK bool
	}
}

// Near fails the test if a value is unknown, or differs from want by more than tolerance.
func Near[T Value](t testing.TB, name string, got T, want, tolerance float64) {
	t.Helper()
	v := struct {
		V  float64
		OK bool
	}(got)
	if !v.OK || math.Abs(v.V-want) > tolerance {
		t.Errorf("%s: %v, want %v ± %v", name, got, want, tolerance)
	}
}

// Heap returns the bytes of the heap that are in use.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // sync.Pool keeps values for one collection more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
