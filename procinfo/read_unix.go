//go:build darwin || (freebsd && (386 || amd64 || arm || arm64))

package procinfo

import (
	"github.com/shirou/gopsutil/v3/load"

	"github.com/apmon-go/apmon/internal/kernel"
)

func loadAverage() ([3]Value, error) {
	l, err := load.Avg()
	if err != nil {
		return [3]Value{}, err
	}
	return [3]Value{Known(l.Load1), Known(l.Load5), Known(l.Load15)}, nil
}

// trafficCounters reads nothing: gopsutil starts netstat for it.
func trafficCounters() ([]traffic, error) { return nil, nil }

// socketCounts reads nothing: gopsutil starts lsof for it.
func socketCounts() (*kernel.TCPStates, Value, error) { return nil, Value{}, nil }
