//go:build !unix

package dashboard

import "time"

var began = time.Now()

// cpuTime returns the time that has passed: that of the CPU is not known here.
func cpuTime() time.Duration { return time.Since(began) }
