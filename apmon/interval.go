package apmon

import (
	"fmt"
	"time"

	"github.com/apmon-go/apmon/conf"
)

// maxInterval is the longest interval, about 31 years, far from overflows.
const maxInterval = 1e9 * time.Second

// checkInterval refuses an interval that is neither 0 nor within bounds.
func checkInterval(d time.Duration) error {
	if d == 0 || d >= conf.MinInterval && d <= maxInterval {
		return nil
	}
	err := fmt.Errorf("interval of %v is not within %v … %v", d, conf.MinInterval, maxInterval)
	if d > 0 && d < time.Millisecond {
		// Probably a number in another unit.
		err = fmt.Errorf("%w: a bare number is nanoseconds, write %d*time.Second for %d seconds", err, d, d)
	}
	return err
}

// orDefault returns an interval, or the default one for 0.
func orDefault(interval time.Duration) time.Duration {
	if interval <= 0 {
		return conf.DefaultInterval
	}
	return interval
}
