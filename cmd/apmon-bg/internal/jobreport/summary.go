package jobreport

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// A group is a part of the summary: rows with a value for each job.
type group struct {
	Title string
	Rows  []row
}

type row struct {
	Name  string
	Cells []string // one for each job, empty for unknown
}

// longest is how many characters of a text are shown.
const longest = 300

// summary returns the table of a report. Rows without a value are left out.
func summary(jobs []*Job) (groups []group) {
	type get func(*jobrecord.Record) string
	text := func(s jobrecord.Text) string { return clean(string(s), longest) }
	add := func(name string, value get) {
		x := row{Name: name}
		known := false
		for _, j := range jobs {
			s := value(j.record)
			known = known || s != ""
			x.Cells = append(x.Cells, s)
		}
		if known {
			g := &groups[len(groups)-1]
			g.Rows = append(g.Rows, x)
		}
	}
	title := func(s string) { groups = append(groups, group{Title: s}) }
	type R = *jobrecord.Record

	title("Job")
	add("command", func(r R) string { return clean(strings.Join(r.Job.Command, " "), longest) })
	add("cluster", func(r R) string { return text(r.Job.Cluster) })
	add("node", func(r R) string { return text(r.Job.Node) })
	add("batch system", func(r R) string { return strings.TrimSpace(text(r.Job.BatchSystem) + " " + text(r.Job.BatchID)) })
	add("host", func(r R) string { return text(r.Job.Host) })
	add("start", func(r R) string { return moment(r.Job.Start) })
	add("run time", func(r R) string { return show(r.Job.RunTime, "s") })
	add("end", ending)

	title("Resources")
	add("CPU time", cpuTime)
	add("CPUs", func(r R) string { return resource(&r.Resources.CPUs, "") })
	add("memory", func(r R) string { return resource(&r.Resources.Memory, "KB") })
	add("time", func(r R) string { return resource(&r.Resources.Time, "s") })

	title("Levels")
	for i := range jobrecord.Quantities {
		if q := &jobrecord.Quantities[i]; !q.IsTotal() {
			name, unit := plain(q.Name)
			add(name, func(r R) string { return level(q.LevelOf(r), unit) })
		}
		if jobrecord.Quantities[i].Name == "cgroup_memory_kb" {
			add("cgroup memory, kernel's peak", func(r R) string { return show(r.Levels.CgroupMemoryPeak, "KB") })
		}
	}
	title("Totals")
	for i := range jobrecord.Quantities {
		if q := &jobrecord.Quantities[i]; q.IsTotal() {
			name, unit := plain(q.Name)
			add(name, func(r R) string { return total(q.TotalOf(r), unit) })
		}
	}
	title("Hardware")
	add("CPU", func(r R) string { return text(r.Hardware.CPUModel) })
	add("CPUs", func(r R) string { return show(r.Hardware.CPUs, "") })
	add("memory", func(r R) string { return show(r.Hardware.Memory, "KB") })
	add("kernel", func(r R) string { return text(r.Hardware.Kernel) })

	return slices.DeleteFunc(groups, func(g group) bool { return len(g.Rows) == 0 })
}

// plain returns the name of a quantity as words, and its unit.
func plain(name string) (words, unit string) {
	unit = "count"
	for _, u := range [...]struct{ suffix, unit string }{{"_kb", "KB"}, {"_bytes", "bytes"}, {"_s", "s"}} {
		if s, ok := strings.CutSuffix(name, u.suffix); ok {
			name, unit = s, u.unit
			break
		}
	}
	return strings.ReplaceAll(name, "_", " "), unit
}

// show returns a value with its unit, empty if it is unknown.
func show(v procinfo.Value, unit string) string {
	if !v.OK {
		return ""
	}
	return quantity.String(v.V, unit)
}

// join joins the texts that are not empty.
func join(separator string, texts ...string) string {
	var known []string
	for _, s := range texts {
		if s != "" {
			known = append(known, s)
		}
	}
	return strings.Join(known, separator)
}

// with returns a value between texts, empty if it is unknown.
func with(before string, v procinfo.Value, unit, after string) string {
	if !v.OK {
		return ""
	}
	return before + show(v, unit) + after
}

func moment(t jobrecord.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime) + " UTC"
}

// ending describes the end of a job.
func ending(r *jobrecord.Record) string {
	switch j := &r.Job; {
	case j.Error != "":
		return "not started: " + clean(string(j.Error), longest)
	case j.Signal.OK:
		return "signal " + quantity.Exact(j.Signal.V)
	case j.ExitCode.OK:
		return "exit code " + quantity.Exact(j.ExitCode.V)
	}
	return ""
}

func cpuTime(r *jobrecord.Record) string {
	s := show(r.CPU.Total, "s")
	if s == "" {
		return ""
	}
	if r.CPU.LowerBound {
		s = "at least " + s
	}
	return s + join(", ", with(" (user ", r.CPU.User, "s", ""), with("system ", r.CPU.System, "s", ")"))
}

// resource describes what a job used, requested and was given.
func resource(x *jobrecord.Resource, unit string) string {
	part := func(verb string, of, efficiency procinfo.Value, source jobrecord.Text) string {
		if !of.OK {
			return ""
		}
		return fmt.Sprintf("%s of %s %s (%s)", show(efficiency, "%"), show(of, unit), verb, clean(string(source), 60))
	}
	return join("; ", show(x.Used, unit), part("requested", x.Requested, x.EfficiencyRequested, x.RequestedSource), part("given", x.Allocated, x.EfficiencyAllocated, x.AllocatedSource))
}

func level(l *jobrecord.Level, unit string) string {
	return join(", ", with("peak ", l.Max, unit, ""), with("mean ", l.Avg, unit, ""), with("last ", l.Last, unit, ""))
}

func total(t *jobrecord.Total, unit string) string {
	rate := map[string]string{"count": "1/s", "bytes": "bytes/s", "s": ""}[unit]
	s := show(t.Total, unit)
	if unit == "s" || s == "" || !t.Rate.OK {
		return s
	}
	return s + ", " + show(t.Rate, rate)
}
