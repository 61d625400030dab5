package jobrecord_test

import (
	"fmt"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// A recorder takes the samples of a job, and returns its record at any time. Samples come from
// package jobtree, or from apmon.MonitoredJob, which has a recorder.
func Example() {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var r jobrecord.Recorder
	for minute := range 61 {
		s := procinfo.JobSample{
			At:      start.Add(time.Duration(minute) * time.Minute),
			RunTime: procinfo.Known(float64(60 * minute)),
			CPUTime: procinfo.Known(float64(90 * minute)),
			RSS:     procinfo.Known(float64(1000 + 10*minute)),
		}
		r.Add(s, nil)
	}
	record := r.Record()
	record.SetEnd(start.Add(time.Hour), 0, 0, nil, 0)
	record.SetResources(jobrecord.Amounts{}, jobrecord.Amounts{
		CPUs: jobrecord.Amount{Value: procinfo.Known(2), Source: "SLURM_CPUS_ON_NODE"},
	})
	fmt.Println("CPU time:", record.CPU.Total.V, "s")
	fmt.Println("memory:", record.Levels.RSS.Avg.V, "of at most", record.Levels.RSS.Max.V, "KiB")
	fmt.Println("exit code:", record.Job.ExitCode.V)
	fmt.Println("CPUs:", record.Resources.CPUs.Used.V, "of", record.Resources.CPUs.Allocated.V)
	// Output:
	// CPU time: 5400 s
	// memory: 1300 of at most 1600 KiB
	// exit code: 0
	// CPUs: 1.5 of 2
}
