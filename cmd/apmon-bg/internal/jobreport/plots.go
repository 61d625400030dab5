package jobreport

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/procinfo"
)

// Plots are the names of the graphs that [SVG] draws.
var Plots = []string{"cpu", "memory", "processes", "io", "network", "gpu", "children"}

// A plot is a graph of a report.
type plot struct {
	name, title, unit string
	note              string // below the graph
	series            []graph.Series
	levels            []graph.Level
}

// epoch is the start of all jobs on the axis of times.
var epoch = time.Unix(0, 0)

// interpolated is longer than any gap: a series is thinned so that straight lines replace
// what is missing.
const interpolated = math.MaxInt64

func (p *plot) options() graph.Options {
	return graph.Options{Title: p.title, Unit: p.unit, From: epoch, Elapsed: true, Levels: p.levels, Gap: interpolated}
}

// add adds a line, unless no value of it is known.
func (p *plot) add(label string, points []graph.Point) {
	if slices.ContainsFunc(points, func(x graph.Point) bool { return !math.IsNaN(x.Value) }) {
		p.series = append(p.series, graph.Series{Label: label, Points: points})
	}
}

// level adds a horizontal line, or a note if it is so far above all values that they would
// look like zero.
func (p *plot) level(label string, v procinfo.Value) {
	highest := 0.
	for i := range p.series {
		for _, x := range p.series[i].Points {
			if x.Value > highest { // not NaN
				highest = x.Value
			}
		}
	}
	switch {
	case !v.OK || len(p.series) == 0:
	case v.V > 10*highest:
		p.note = strings.TrimSpace(p.note + " " + strings.ToUpper(label[:1]) + label[1:] + ": " + quantity.String(v.V, p.unit) + ", above the graph.")
	default:
		p.levels = append(p.levels, graph.Level{Label: label, Value: v.V})
	}
}

func at(seconds, v float64) graph.Point {
	return graph.Point{Time: epoch.Add(time.Duration(seconds * 1e9)), Value: v}
}

// values returns a column over the run time.
func (j *Job) values(name string) []graph.Point {
	if j.table == nil {
		return nil
	}
	return pointsOf(j.table.columns["run_time_s"], j.table.columns[name])
}

// pointsOf returns a point for each value: times has one for each, and may have more.
func pointsOf(times, values []float64) (points []graph.Point) {
	for i, v := range values {
		points = append(points, at(times[i], v))
	}
	return points
}

// rates returns the increase of the sum of columns per second.
func (j *Job) rates(names ...string) (points []graph.Point) {
	if j.table == nil {
		return nil
	}
	times := j.table.columns["run_time_s"]
	sums := make([]float64, len(times))
	for i := range sums {
		for _, name := range names {
			if c := j.table.columns[name]; i < len(c) {
				sums[i] += c[i]
			} else {
				sums[i] = math.NaN()
			}
		}
	}
	return increase(times, sums)
}

// increase returns the increase of a counter per second, between two lines that are at least
// half a second apart: counters have steps of up to 20 ms. A rate is that of the time before
// it.
func increase(times, sums []float64) (points []graph.Point) {
	total := times[len(times)-1] - times[0]
	least := min(.5, total/10)
	before := 0
	for i := 1; i < len(times); i++ {
		d := times[i] - times[before]
		if d < least || d <= 0 || i+1 < len(times) && times[len(times)-1]-times[i] < least {
			continue // the last interval is not short either
		}
		rate := (sums[i] - sums[before]) / d
		if rate < 0 {
			rate = math.NaN()
		}
		if len(points) == 0 {
			points = append(points, at(times[before], rate))
		}
		points = append(points, at(times[i], rate))
		before = i
	}
	return points
}

// plots returns the graphs that have values: the quantities of a single job together, those
// of several jobs over one another.
func plots(jobs []*Job) (all []plot) {
	if len(jobs) == 1 {
		all = single(jobs[0])
	} else {
		all = compared(jobs)
	}
	return slices.DeleteFunc(all, func(p plot) bool { return len(p.series) == 0 })
}

func single(j *Job) []plot {
	r := &j.record.Resources
	cpu := plot{name: "cpu", title: "CPU", unit: "CPUs"}
	cpu.add("user and system", j.rates("cpu_user_s", "cpu_system_s"))
	cpu.add("user", j.rates("cpu_user_s"))
	cpu.add("system", j.rates("cpu_system_s"))
	cpu.level("CPUs requested", r.CPUs.Requested)
	if r.CPUs.Allocated != r.CPUs.Requested {
		cpu.level("CPUs given", r.CPUs.Allocated)
	}

	memory := plot{name: "memory", title: "Memory", unit: "KB"}
	memory.add("rss", j.values("rss_kb"))
	memory.add("pss", j.values("pss_kb"))
	if j.table.has("swap_kb", false) {
		memory.add("swap", j.values("swap_kb"))
	}
	memory.add("cgroup, with page cache", j.values("cgroup_memory_kb"))
	memory.level("peak", j.record.Levels.RSS.Max)
	memory.level("requested", r.Memory.Requested)
	if r.Memory.Allocated != r.Memory.Requested {
		memory.level("limit", r.Memory.Allocated)
	}

	processes := plot{name: "processes", title: "Processes and threads", unit: "count"}
	processes.add("processes", j.values("processes"))
	processes.add("threads", j.values("threads"))

	io := plot{name: "io", title: "I/O", unit: "bytes/s"}
	io.add("read", j.rates("rchar_bytes"))
	io.add("written", j.rates("wchar_bytes"))
	io.add("read from storage", j.rates("read_bytes"))
	io.add("written to storage", j.rates("write_bytes"))

	network := plot{name: "network", title: "Network", unit: "bytes/s"}
	network.add("received", j.rates("rx_bytes"))
	network.add("sent", j.rates("tx_bytes"))
	if shared := j.record.Totals.NetShared; shared != nil && *shared {
		network.note = "The traffic of the whole host, or of the container that the job shares."
	}

	gpu := plot{name: "gpu", title: "GPU engines busy", unit: ""}
	gpu.add("", j.rates("gpu_s"))
	gpuMemory := plot{name: "gpu", title: "GPU memory", unit: "KB"}
	gpuMemory.add("", j.values("gpu_memory_kb"))
	children, childrenMemory := split(j)
	return []plot{cpu, memory, processes, io, network, gpu, gpuMemory, children, childrenMemory}
}

// maxChildren is how many direct children a graph shows.
const maxChildren = 8

// split returns the CPU time and the memory of the direct children of the job's first
// process, of those with the most CPU time.
func split(j *Job) (cpu, memory plot) {
	cpu = plot{name: "children", title: "CPU of direct children", unit: "CPUs"}
	memory = plot{name: "children", title: "Memory (rss) of direct children", unit: "KB"}
	if j.table == nil {
		return cpu, memory
	}
	all := j.table.children()
	slices.SortStableFunc(all, func(a, b child) int { return cmp.Compare(b.used(), a.used()) })
	if more := len(all) - maxChildren; more > 0 {
		all = all[:maxChildren]
		cpu.note = fmt.Sprintf("The %d children with the most CPU time; %d more are not shown.", maxChildren, more)
		memory.note = cpu.note
	}
	slices.SortStableFunc(all, func(a, b child) int { return cmp.Compare(a.times[0], b.times[0]) })
	for _, c := range all {
		label := fmt.Sprintf("pid %d", c.pid)
		cpu.add(label, increase(c.times, c.cpu))
		memory.add(label, pointsOf(c.times, c.rss))
	}
	return cpu, memory
}

// child is a direct child of the job's first process, in the lines in which it lived.
type child struct {
	pid             int
	times, cpu, rss []float64
}

// used returns the CPU time of the child in these lines.
func (c *child) used() float64 { return c.cpu[len(c.cpu)-1] - c.cpu[0] }

// children returns the direct children that have columns in some lines.
func (t *table) children() (all []child) {
	for number := 1; ; number++ {
		name := fmt.Sprintf("child%d_", number)
		pids, cpu, rss := t.columns[name+"pid"], t.columns[name+"cpu_s"], t.columns[name+"rss_kb"]
		if pids == nil || cpu == nil || rss == nil {
			return all
		}
		last := -1 // the child of the line before
		for i, pid := range pids {
			if math.IsNaN(pid) || math.IsNaN(cpu[i]) {
				last = -1
				continue
			}
			if last < 0 || all[last].pid != int(pid) {
				last, all = len(all), append(all, child{pid: int(pid)})
			}
			c := &all[last]
			c.times, c.cpu, c.rss = append(c.times, t.columns["run_time_s"][i]), append(c.cpu, cpu[i]), append(c.rss, rss[i])
		}
	}
}

// compared returns one graph for each quantity, with a line for each job.
func compared(jobs []*Job) (all []plot) {
	for _, g := range []struct {
		name, title, unit string
		rate              bool
		columns           []string
	}{
		{"cpu", "CPU", "CPUs", true, []string{"cpu_user_s", "cpu_system_s"}},
		{"memory", "Memory (rss)", "KB", false, []string{"rss_kb"}},
		{"memory", "Memory (pss)", "KB", false, []string{"pss_kb"}},
		{"processes", "Processes", "count", false, []string{"processes"}},
		{"processes", "Threads", "count", false, []string{"threads"}},
		{"io", "Read", "bytes/s", true, []string{"rchar_bytes"}},
		{"io", "Written", "bytes/s", true, []string{"wchar_bytes"}},
		{"network", "Network, received", "bytes/s", true, []string{"rx_bytes"}},
		{"network", "Network, sent", "bytes/s", true, []string{"tx_bytes"}},
		{"gpu", "GPU engines busy", "", true, []string{"gpu_s"}},
	} {
		p := plot{name: g.name, title: g.title, unit: g.unit}
		for _, j := range jobs {
			if g.rate {
				p.add(j.Label, j.rates(g.columns...))
			} else {
				p.add(j.Label, j.values(g.columns[0]))
			}
		}
		if len(p.series) == 1 { // a graph of one line has no legend
			p.title += ", " + p.series[0].Label
		}
		all = append(all, p)
	}
	return all
}

// SVG returns the first graph with a name of [Plots], as a file of its own.
func SVG(jobs []*Job, name string) (template.HTML, error) {
	for _, p := range plots(jobs) {
		if p.name == name {
			o := p.options()
			o.Standalone = true
			return graph.Line(o, p.series...), nil
		}
	}
	if !slices.ContainsFunc(jobs, func(j *Job) bool { return j.table != nil }) {
		return "", errors.New("a graph needs a time series (apmon-bg exec --series)")
	}
	return "", fmt.Errorf("no time series has values for the graph %q", name)
}
