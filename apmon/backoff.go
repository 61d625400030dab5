package apmon

import (
	"math/rand/v2"
	"time"
)

// maxBackoff is the longest time between two attempts at what fails.
const maxBackoff = time.Hour

// backoff is how long to wait after so many failures in a row, at least one:
// the first time after the first one, then twice as long each time, up to
// [maxBackoff] or the first time if that is longer.
func backoff(first time.Duration, inRow int) time.Duration {
	wait, most := first, max(first, maxBackoff)
	for range inRow - 1 {
		if wait = min(2*wait, most); wait == most {
			break
		}
	}
	return wait
}

// spread is about a time, but not less than the least, so that a farm does not
// ask a server in step.
func spread(about, least time.Duration) time.Duration {
	return max(about-about/10, least) + time.Duration(rand.Int64N(int64(about)/5))
}
