package apmon

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestLongSoak runs 100 000 cycles of the host's reports, in simulated time but
// with the real /proc and a real socket: memory, goroutines and descriptors
// must not grow.
func TestLongSoak(t *testing.T) {
	testkit.SkipLong(t)
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted in /proc")
	}
	type use struct {
		heap                    uint64
		rss                     float64
		goroutines, descriptors int
	}
	// Measure anonymous resident memory after a collection that returns free memory.
	// On a busy machine the collector runs late, and the heap exceeds its goal by
	// MBs for a while. File pages of the program are loaded when first used.
	now := func() use {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(status), "\nRssAnon:")
		var rss float64 // KB
		if _, err := fmt.Sscan(line, &rss); err != nil {
			t.Fatal(err)
		}
		return use{m.HeapAlloc, rss, runtime.NumGoroutine(), len(fds)}
	}
	l := testkit.Listen(t) // never read: the kernel drops the datagrams
	synctest.Test(t, func(t *testing.T) {
		c := client(t, config(t, l.Name()))
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		const cycles, interval = 100_000, 2 * time.Minute
		time.Sleep(cycles / 10 * interval)
		before := now()
		time.Sleep(cycles / 10 * 9 * interval)
		synctest.Wait()
		after := now()
		t.Logf("after 10%%: %+v; at the end: %+v", before, after)
		if got := c.Stats().Reports[0].Reports; got < cycles-1 {
			t.Errorf("%d reports of %d", got, cycles)
		}
		equal(t, "goroutines", after.goroutines, before.goroutines)
		equal(t, "descriptors", after.descriptors, before.descriptors)
		if after.heap > before.heap+256<<10 {
			t.Errorf("heap grew from %d to %d bytes", before.heap, after.heap)
		}
		if after.rss > before.rss+2048 {
			t.Errorf("resident memory grew from %.0f to %.0f KB", before.rss, after.rss)
		}
	})
}
