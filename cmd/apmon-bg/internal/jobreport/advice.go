package jobreport

import (
	"fmt"
	"math"

	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// advice returns one sentence about the first job that has a reason for it, or "".
func advice(jobs []*Job) string {
	for _, j := range jobs {
		if s := adviceFor(j.record); s != "" {
			if len(jobs) > 1 {
				s = j.Label + ": " + s
			}
			return s
		}
	}
	return ""
}

// adviceFor looks for the causes of failure first, then for what was reserved in vain. Jobs
// below a minute are too short for the latter.
func adviceFor(r *jobrecord.Record) string {
	memory, cpus, limit := &r.Resources.Memory, &r.Resources.CPUs, &r.Resources.Time
	of, what := memory.Allocated, "given"
	if !of.OK {
		of, what = memory.Requested, "requested"
	}
	share := func(x *jobrecord.Resource) float64 { return x.Used.V / x.Requested.V }
	reserved := func(x *jobrecord.Resource) bool { return x.Used.OK && x.Requested.OK && x.Requested.V > 0 }
	long := r.Job.RunTime.V >= 60
	switch {
	case r.Job.Error != "":
		return "" // nothing ran
	case of.OK && memory.Used.V > of.V && sharesPages(r):
		return fmt.Sprintf("The sum of rss, which counts shared pages once for each process, reached %s of the %s %s: measure the memory with --pss.", quantity.String(memory.Used.V, "KB"), quantity.String(of.V, "KB"), what)
	case of.OK && memory.Used.V >= .95*of.V:
		return fmt.Sprintf("The memory reached %s of the %s %s: request more.", quantity.String(memory.Used.V, "KB"), quantity.String(of.V, "KB"), what)
	case reserved(limit) && share(limit) >= .95:
		return fmt.Sprintf("The job ran for %s of the %s requested: request more time.", quantity.String(limit.Used.V, "s"), quantity.String(limit.Requested.V, "s"))
	case reserved(cpus) && share(cpus) > 1.25:
		return fmt.Sprintf("The job used %s CPUs but requested %s: request more, or limit its threads.", quantity.Number(cpus.Used.V, 3), quantity.String(cpus.Requested.V, ""))
	case long && reserved(cpus) && cpus.Requested.V >= 2 && share(cpus) < .5:
		return fmt.Sprintf("The job used %s of the %s CPUs requested: %s would be enough.", quantity.Number(cpus.Used.V, 3), quantity.String(cpus.Requested.V, ""), quantity.String(max(1, math.Ceil(cpus.Used.V)), ""))
	case long && reserved(cpus) && share(cpus) < .5:
		return "The job used less than half of its CPU: it waited for something else, such as storage or the network."
	case long && reserved(memory) && memory.Requested.V >= 1<<20 && share(memory) < .3:
		return fmt.Sprintf("The job used %s of the %s requested: %s would be enough.", quantity.String(memory.Used.V, "KB"), quantity.String(memory.Requested.V, "KB"), quantity.String(roundUp(1.2*memory.Used.V), "KB"))
	}
	return ""
}

// sharesPages reports whether the memory used may be far above the memory that the job had.
// Processes that the kernel killed because memory was short prove that it is not.
func sharesPages(r *jobrecord.Record) bool {
	return !r.Levels.PSS.Max.OK && r.Levels.Processes.Max.V > 1 && r.Totals.OOMKills.Total.V == 0
}

// roundUp returns the next multiple of 256 MiB, in KiB.
func roundUp(kb float64) float64 {
	const step = 256 << 10
	return math.Ceil(kb/step) * step
}
