package jobrecord

import (
	"github.com/apmon-go/apmon/procinfo"
)

// Resources compare what a job used with what it asked for and what it was given. Used
// CPUs are the CPU time divided by the run time. Used memory is the peak of pss_kb if that
// was measured, otherwise of rss_kb, which counts shared pages once for each process.
type Resources struct {
	CPUs   Resource `json:"cpus"`
	Memory Resource `json:"memory_kb"`
	Time   Resource `json:"time_s"`
}

// Resource is one resource. An efficiency is Used in percent of its denominator, and
// unknown without it. A request that is not known is never replaced by an allocation or by
// what the host has.
type Resource struct {
	Used                procinfo.Value `json:"used"`
	UsedSource          Text           `json:"used_source"`
	Requested           procinfo.Value `json:"requested"`
	RequestedSource     Text           `json:"requested_source"`
	Allocated           procinfo.Value `json:"allocated"`
	AllocatedSource     Text           `json:"allocated_source"`
	EfficiencyRequested procinfo.Value `json:"efficiency_requested_percent"`
	EfficiencyAllocated procinfo.Value `json:"efficiency_allocated_percent"`
}

// Amount is an amount of a resource, and the source of the number.
type Amount struct {
	Value  procinfo.Value
	Source string
}

// Amounts are those of the three resources: CPUs, KiB and seconds.
type Amounts struct{ CPUs, Memory, Time Amount }

// Or returns the amounts of a, and those of b where a has none.
func (a Amounts) Or(b Amounts) Amounts {
	or := func(x, y Amount) Amount {
		if x.Value.OK {
			return x
		}
		return y
	}
	return Amounts{or(a.CPUs, b.CPUs), or(a.Memory, b.Memory), or(a.Time, b.Time)}
}

// Least returns the smaller of each two amounts: a job cannot use more than the smallest of
// its limits.
func (a Amounts) Least(b Amounts) Amounts {
	least := func(x, y Amount) Amount {
		if !x.Value.OK || y.Value.OK && y.Value.V < x.Value.V {
			return y
		}
		return x
	}
	return Amounts{least(a.CPUs, b.CPUs), least(a.Memory, b.Memory), least(a.Time, b.Time)}
}

// Limits returns the limits of this process, which its children inherit: those of its
// cgroups, and the CPUs that it may run on if they are not all of the host's.
func Limits(g *procinfo.General) (a Amounts) {
	switch {
	case g.CPUQuota.OK && g.CPUQuota.V <= g.CPUsAllowed.V:
		a.CPUs = Amount{g.CPUQuota, "cgroup CPU quota"}
	case g.CPUsAllowed.OK && g.CPU.Logical.OK && g.CPUsAllowed.V < g.CPU.Logical.V:
		a.CPUs = Amount{g.CPUsAllowed, "CPU affinity or cpuset"}
	}
	if g.MemLimit.OK {
		a.Memory = Amount{g.MemLimit.Scaled(1024).Rounded(0), "cgroup memory limit"}
	}
	return a
}

// SetResources sets what the job asked for and what it was given.
func (r *Record) SetResources(requested, allocated Amounts) {
	for _, x := range []struct {
		to       *Resource
		req, all Amount
	}{{&r.Resources.CPUs, requested.CPUs, allocated.CPUs}, {&r.Resources.Memory, requested.Memory, allocated.Memory}, {&r.Resources.Time, requested.Time, allocated.Time}} {
		x.to.Requested, x.to.Allocated = x.req.Value, x.all.Value
		x.to.RequestedSource, x.to.AllocatedSource = "", ""
		if x.req.Value.OK {
			x.to.RequestedSource = Text(x.req.Source)
		}
		if x.all.Value.OK {
			x.to.AllocatedSource = Text(x.all.Source)
		}
	}
	r.Resources.setUsed(r)
}

// setUsed sets what the job has used, and the efficiencies.
func (r *Resources) setUsed(rec *Record) {
	r.CPUs.Used, r.CPUs.UsedSource = procinfo.Value{}, ""
	if run := rec.Job.RunTime; run.OK && run.V > 0 && rec.CPU.Total.OK {
		r.CPUs.Used, r.CPUs.UsedSource = procinfo.Known(rec.CPU.Total.V/run.V).Rounded(3), "cpu.total_s / job.run_time_s"
	}
	if r.Time.Used = rec.Job.RunTime; r.Time.Used.OK {
		r.Time.UsedSource = "job.run_time_s"
	}
	r.setMemoryUsed(rec)
	r.CPUs.setEfficiency()
	r.Time.setEfficiency()
}

func (r *Resources) setMemoryUsed(rec *Record) {
	r.Memory.Used, r.Memory.UsedSource = rec.Levels.PSS.Max, "levels.pss_kb.max"
	if !r.Memory.Used.OK {
		r.Memory.Used, r.Memory.UsedSource = rec.Levels.RSS.Max, "levels.rss_kb.max"
	}
	if !r.Memory.Used.OK {
		r.Memory.UsedSource = ""
	}
	r.Memory.setEfficiency()
}

func (r *Resource) setEfficiency() {
	of := func(v procinfo.Value) procinfo.Value {
		if !r.Used.OK || !v.OK {
			return procinfo.Value{}
		}
		return procinfo.Percent(r.Used.V, v.V).Rounded(1)
	}
	r.EfficiencyRequested, r.EfficiencyAllocated = of(r.Requested), of(r.Allocated)
}
