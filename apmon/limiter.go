package apmon

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// limiterWeight is h of the formula below. With 0.92 and 40 per second the
// flood control of the receivers (the same formula with 0.92 and 50) never drops
// a datagram that the limiter admitted. With 0.95 it drops an eighth of a burst of
// 1000 after idle time. TestLimiterAgainstReceiver shows both.
const limiterWeight = 0.92

// limiter is the exponentially weighted moving average that all ApMon clients
// share:
//
//	when the second changes:  prev = h·prev + (1−h)·sent; sent = 0
//	rate = h·prev + (1−h)·sent
//	over if rate > max/10 and random(0 … max/10) ≥ max − rate
//
// Below 0.9·max every message passes, above max none, and between the two the
// probability decreases. During idle time prev decays every second. A message of
// several datagrams is checked against the rate that it would cause. Otherwise a
// message of a thousand datagrams would pass, and receivers would drop most of it.
type limiter struct {
	h      float64
	random func() float64 // in [0, 1)

	mu         sync.Mutex
	max        float64 // in force
	configured float64
	override   float64 // replaces configured; 0 for none
	err        error   // for a message over the limit, made once
	second     int64   // the current one, on the monotonic clock
	sent       float64
	prev       float64
}

func newLimiter(max float64) *limiter {
	l := &limiter{h: limiterWeight, random: rand.Float64}
	l.setMax(max)
	return l
}

// setMax changes the configured limit. The measured rate stays.
func (l *limiter) setMax(max float64) { l.change(func() { l.configured = max }) }

// setOverride replaces the configured limit; 0 restores it.
func (l *limiter) setOverride(max float64) { l.change(func() { l.override = max }) }

func (l *limiter) change(set func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set()
	l.max = cmp.Or(l.override, l.configured)
	l.err = fmt.Errorf("%w of %v datagrams a second", ErrRateLimited, l.max)
}

// limit returns the limit, and the error for a message over it.
func (l *limiter) limit() (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max, l.err
}

// part returns the largest number of datagrams that may pass at once.
func (l *limiter) part() int {
	rate, _ := l.limit()
	return int(max(1, min(rate, 1e6)))
}

// allow reports whether a message of the given number of datagrams may be sent at
// a time on the monotonic clock, and counts it if so.
func (l *limiter) allow(now time.Duration, datagrams int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if elapsed := int64(now/time.Second) - l.second; elapsed > 0 {
		l.prev = l.h*l.prev + (1-l.h)*l.sent
		if elapsed > 1 {
			l.prev *= math.Pow(l.h, float64(elapsed-1))
		}
		l.second += elapsed
		l.sent = 0
	}
	rate := l.h*l.prev + (1-l.h)*(l.sent+float64(datagrams-1))
	if rate > l.max/10 && l.random()*l.max/10 >= l.max-rate {
		return false
	}
	l.sent += float64(datagrams)
	return true
}

// untilNext returns how long a message over the limit has to wait before it may
// pass: the rate goes down when the second changes.
func untilNext(now time.Duration) time.Duration {
	return time.Second - now%time.Second
}
