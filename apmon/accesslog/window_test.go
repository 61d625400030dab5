package accesslog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/backoff"
)

// started returns a Log that closes windows as Run does, until the test ends. In a
// bubble, time begins at midnight, the beginning of a window.
func started(t *testing.T, o Options) *Log {
	l := newLog(t, o)
	l.begin()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go func() {
		for ctx.Err() == nil {
			l.look()
			backoff.Sleep(ctx, time.Second)
		}
	}()
	return l
}

func TestWindows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := started(t, twoStreams())
		t0 := time.Now()
		at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
		zone := time.FixedZone("", -12*3600)

		feed(l, logLine("1", urlA, at(0), 10)) // on the border: it belongs to the new window
		time.Sleep(14 * time.Second)
		feed(l,
			logLine("2", urlA, at(14.999), 20),
			logLine("1", urlA, at(3), 30),   // out of order
			logLine("1", urlB, at(15), 100), // on the border, and ahead of the clock
			logLine("3", urlA, at(14).In(zone), 40),
			"{", "", "nonsense", "\r",
			logLine("1", "/live/hls/c-hi/1.ts", at(14), 1),
			logLine("1", "/other", at(14), 1),
			logLine("1", urlA, at(-0.001), 1), // late
			logLine("1", urlA, at(30), 1),     // two windows ahead: bad
			strings.Replace(logLine("1", urlA, at(14), 1), "200", "404", 1),
			strings.Replace(logLine("1", urlA, at(14), 50), "200", "206", 1)+"\r",
		)
		equal(t, "before the end", messages(t, l), nil)
		time.Sleep(6*time.Second - 1) // 5 s of grace
		feed(l, logLine("1", urlA, at(14), 5))
		equal(t, "before the end of the grace", messages(t, l), nil)
		time.Sleep(time.Nanosecond)
		equal(t, "after it", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(0), 3, 155, 6, 0, 1),
			streamReport("h_b_hls_hi", at(0), 0, 0, 0),
			ownReport(at(0), 2, 1, 3, 0),
		})
		feed(l, logLine("1", urlA, at(14), 5)) // too late now
		time.Sleep(16 * time.Second)
		feed(l)
		equal(t, "the next", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(15), 0, 0, 0),
			streamReport("h_b_hls_hi", at(15), 1, 100, 1),
			ownReport(at(15), 0, 1, 0, 0),
		})
		equal(t, "no window twice", messages(t, l), nil)
		time.Sleep(15 * time.Second) // no input since the last feed
		equal(t, "silent", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(30), 0, 0, 0),
			streamReport("h_b_hls_hi", at(30), 0, 0, 0),
			ownReport(at(30), 0, 0, 0, 0),
		})
	})
}

func TestWindowsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.IDs = []string{"a/hls/hi"}
		l := started(t, o)
		t0 := time.Now()
		at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
		l.connect(true)
		time.Sleep(14 * time.Second)
		l.connect(false)
		time.Sleep(50 * time.Second) // 64: the windows at 15, 30 and 45 had no input
		l.connect(true)
		time.Sleep(16 * time.Second) // 80
		equal(t, "lost", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(0), 0, 0, 0), ownReport(at(0), 0, 0, 0, 0),
			ownReport(at(15), 0, 0, 0, 1),
			ownReport(at(30), 0, 0, 0, 1),
			ownReport(at(45), 0, 0, 0, 1),
			streamReport("h_a_hls_hi", at(60), 0, 0, 0), ownReport(at(60), 0, 0, 0, 0),
		})
		// Results that are not collected in time are dropped and counted.
		time.Sleep(30 * 15 * time.Second)
		all := messages(t, l)
		if len(all) != 2*keptResults || all[1] != ownReport(at(80+150-5), 0, 0, 0, 10) {
			t.Errorf("%d messages, %s", len(all), all[1])
		}
		// After the end only the open window is reported.
		time.Sleep(5 * time.Second) // 535
		l.end()
		l.datagram([]byte(logLine("1", urlA, time.Now(), 1)))
		time.Sleep(time.Hour)
		equal(t, "after the end", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(525), 0, 0, 0), ownReport(at(525), 0, 0, 0, 0),
		})
	})
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.IDs = []string{"a/hls/hi"}
		l := newLog(t, o)
		step := time.Duration(0)
		l.clock = func() time.Time { return time.Now().Add(step) }
		l.begin()
		l.connect(true)
		window := func() time.Time { return time.Unix(l.clock().Unix()/15*15, 0) }
		for _, by := range []time.Duration{time.Hour, -2 * time.Hour, 8 * 365 * 24 * time.Hour, -9 * 365 * 24 * time.Hour} {
			// The current window, and one in the future.
			feed(l, logLine("1", urlA, l.clock(), 7), logLine("1", urlA, l.clock().Add(15*time.Second), 1))
			open := window()
			step += by
			l.look()
			equal(t, by.String(), messages(t, l), []string{
				streamReport("h_a_hls_hi", open, 1, 7, 1), ownReport(open, 0, 0, 0, 0),
			})
		}
		open := window()
		feed(l, logLine("1", urlA, l.clock(), 9))
		for range 20 {
			time.Sleep(time.Second)
			l.look()
		}
		equal(t, "continues", messages(t, l), []string{
			streamReport("h_a_hls_hi", open, 1, 9, 1), ownReport(open, 0, 0, 0, 0),
		})
		// A step back that is shorter than a window: lines are late until the clock
		// has caught up.
		open = window()
		step -= 10 * time.Second
		l.look()
		feed(l, logLine("1", urlA, l.clock(), 9))
		for range 40 {
			time.Sleep(time.Second)
			l.look()
		}
		equal(t, "a little back", messages(t, l)[:2], []string{
			streamReport("h_a_hls_hi", open, 0, 0, 0), ownReport(open, 0, 1, 0, 0),
		})
	})
}

// The windows during which the process was stopped are lost.
func TestStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.IDs = []string{"a/hls/hi"}
		l := newLog(t, o)
		t0 := time.Now()
		at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
		l.begin()
		l.connect(true)
		time.Sleep(time.Minute + 17*time.Second) // 77
		feed(l, logLine("1", urlA, at(74), 1))   // can still be counted
		time.Sleep(15 * time.Second)             // 92
		l.look()
		equal(t, "messages", messages(t, l), []string{
			streamReport("h_a_hls_hi", at(0), 0, 0, 0), ownReport(at(0), 0, 0, 0, 0),
			ownReport(at(15), 0, 0, 0, 1),
			streamReport("h_a_hls_hi", at(60), 1, 1, 1), ownReport(at(60), 0, 0, 0, 2), // 30 and 45
		})
	})
}

func TestStreamsThatAreNotDeclared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.IDs, o.Preset = nil, HLS
		o.Node = "{content}"
		l := started(t, o)
		l.connect(true)
		t0 := time.Now()
		url := func(content string) string { return "/live/hls/" + content + "-hi/1.ts" }
		var long []string
		for range 10 {
			long = append(long, "0123456789abcdefghij")
		}
		feed(l,
			logLine("1", url("a"), t0, 1),
			logLine("1", "/live/dash/a-hi/1.ts", t0, 2), // the same node by the template
			logLine("1", url("b"), t0, 4),
			logLine("1", url("c"), t0.Add(-time.Second), 4), // late: not counted
			logLine("1", url(strings.Join(long, "")), t0, 8),
			logLine("1", url("a\x1b[2J"), t0, 8),
			strings.Replace(logLine("1", url("X"), t0, 8), "X", "\xff", 1),
		)
		time.Sleep(20 * time.Second)
		equal(t, "taken", messages(t, l), []string{
			streamReport("a", t0, 1, 3, 2), streamReport("b", t0, 1, 4, 1), ownReport(t0, 3, 1, 0, 0),
		})
		for i := range 3000 {
			feed(l, logLine("1", url("c"+strings.Repeat("i", i%100)+strings.Repeat("j", i/100)), time.Now(), 1))
		}
		synctest.Wait()
		if n := len(l.byKey); n != MaxStreams {
			t.Errorf("%d streams", n)
		}
		for range 250 {
			time.Sleep(15 * time.Second)
			feed(l, logLine("1", url("a"), time.Now(), 1))
			messages(t, l)
		}
		synctest.Wait()
		if len(l.byKey) != 2 || len(l.byNode) != 1 || len(l.streams) != 1 {
			t.Errorf("%d, %d, %d streams after an hour", len(l.byKey), len(l.byNode), len(l.streams))
		}
	})
}

func TestMessagesThatAreNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := started(t, twoStreams())
		l.connect(true)
		time.Sleep(20 * time.Second)
		full, n := errors.New("full"), 0
		err := l.Messages(context.Background(), func(m apmon.Message) error {
			if n++; n == 2 {
				return full
			}
			return nil
		})
		if n != 3 || !errors.Is(err, full) {
			t.Errorf("%d messages, %v", n, err)
		}
		time.Sleep(15 * time.Second)
		ctx, stop := context.WithCancel(context.Background())
		stop()
		err = l.Messages(ctx, func(m apmon.Message) error { t.Error("sent"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
