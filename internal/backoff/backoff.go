// Package backoff computes the times at which to retry an operation that fails, and waits for
// them.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// longest is the longest time between two attempts.
const longest = time.Hour

// After returns the time to wait after the given number of failures in a row, at least
// one: first after the first failure, then twice as long each time, up to one hour, or
// up to first if that is longer.
func After(first time.Duration, failures int) time.Duration {
	wait, most := first, max(first, longest)
	for range failures - 1 {
		if wait = min(2*wait, most); wait == most {
			break
		}
	}
	return wait
}

// Spread returns a random time within 10 % of about, but never less than least,
// so that the hosts of a farm do not query a server all at once.
func Spread(about, least time.Duration) time.Duration {
	return max(about-about/10, least) + time.Duration(rand.Int64N(int64(about)/5))
}

// Sleep waits for d. It returns false if ctx ends before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
