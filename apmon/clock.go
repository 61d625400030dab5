package apmon

import "time"

// clock is the time since its start: steps of the wall clock must not disturb
// limits and intervals.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }
