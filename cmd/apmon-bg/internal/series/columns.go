package series

import (
	"fmt"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// columns returns the columns of a time series: the time, the CPU time, and the
// quantities of the record under the same names.
func columns() []column {
	type S = procinfo.JobSample
	all := []column{
		{name: "time_s", decimals: 3, value: unixTime},
		{name: "run_time_s", decimals: 3, value: func(s *S) procinfo.Value { return s.RunTime }},
		{name: "cpu_user_s", decimals: 3, value: func(s *S) procinfo.Value { return s.CPUUser }},
		{name: "cpu_system_s", decimals: 3, value: func(s *S) procinfo.Value { return s.CPUSystem }},
	}
	for i := range jobrecord.Quantities {
		q := &jobrecord.Quantities[i]
		all = append(all, column{name: q.Name, decimals: q.Decimals, value: q.Value})
	}
	return all
}

// childColumns returns the columns of the direct child that is at c now.
func childColumns(number int, c *procinfo.JobChild) []column {
	name := fmt.Sprintf("child%d_", number)
	return []column{
		{name: name + "pid", value: func(*procinfo.JobSample) procinfo.Value { return procinfo.KnownIf(float64(c.PID), c.PID != 0) }},
		{name: name + "cpu_s", decimals: 3, value: func(*procinfo.JobSample) procinfo.Value { return c.CPUTime }},
		{name: name + "rss_kb", value: func(*procinfo.JobSample) procinfo.Value { return c.RSS }},
	}
}

// unixTime is the time of a sample in Unix seconds.
func unixTime(s *procinfo.JobSample) procinfo.Value {
	return procinfo.Known(float64(s.At.UnixMilli()) / 1000)
}
