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
// flood control of the receivers (the same formula, 0.92 and 50) never drops
// what the limiter lets through; with 0.95 it loses an eighth of a cold burst
// of 1000. TestLimiterAgainstReceiver shows both.
const limiterWeight = 0.92

// limiter is the exponentially weighted moving average that all ApMon clients
// share:
//
//	when the second changes:  prev = h·prev + (1−h)·sent; sent = 0
//	rate = h·prev + (1−h)·sent
//	over if rate > max/10 and random(0 … max/10) ≥ max − rate
//
// so below 0.9·max everything passes, above max nothing does, and in between
// ever less. After idle seconds prev has decayed by each of them. A message of
// several datagrams is held against the rate that it would lead to, or one of
// a thousand would pass and most of it be lost.
type limiter struct {
	h      float64
	random func() float64 // in [0, 1)

	mu         sync.Mutex
	max        float64 // in force
	configured float64
	override   float64 // counts in place of configured; 0 for none
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

// setMax changes the configured limit; what has been sent stays counted.
func (l *limiter) setMax(max float64) { l.change(func() { l.configured = max }) }

// setOverride has another limit count in place of the configured one; 0 ends that.
func (l *limiter) setOverride(max float64) { l.change(func() { l.override = max }) }

func (l *limiter) change(set func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set()
	l.max = cmp.Or(l.override, l.configured)
	l.err = fmt.Errorf("%w of %v datagrams a second", ErrRateLimited, l.max)
}

// limit returns the limit, and the error for what is over it.
func (l *limiter) limit() (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max, l.err
}

// part is how many datagrams at most may ever pass at once.
func (l *limiter) part() int {
	rate, _ := l.limit()
	return int(max(1, min(rate, 1e6)))
}

// allow decides on a message of the given number of datagrams at a time on the
// monotonic clock, and counts it if it may go.
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

// untilNext is how long a message that was over the limit has to wait before
// asking again makes sense: the rate sinks when the second changes.
func untilNext(now time.Duration) time.Duration {
	return time.Second - now%time.Second
}
