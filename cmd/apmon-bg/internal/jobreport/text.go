package jobreport

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// Sizes of the text, in characters.
const (
	textWidth  = 79
	sparkWidth = 20
)

// Text returns a short report for a terminal of 80 columns.
func Text(jobs []*Job) string {
	var b strings.Builder
	for i, j := range jobs {
		if i > 0 {
			b.WriteString("\n")
		}
		j.text(&b)
	}
	if s := advice(jobs); s != "" {
		b.WriteString("\n")
		for _, line := range readable.Wrap(s, textWidth) {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func (j *Job) text(b *strings.Builder) {
	r := j.record
	line := func(name, spark, value string) {
		if value == "" {
			return
		}
		if j.table == nil {
			spark = ""
		} else {
			spark = fmt.Sprintf("%-*s  ", sparkWidth, spark)
		}
		// Columns are counted in characters, since a spark has several bytes for each.
		b.WriteString(clean(fmt.Sprintf("  %-9s  %s%s", name, spark, value), textWidth) + "\n")
	}
	head := "Job " + j.Label
	if command := strings.Join(r.Job.Command, " "); command != "" && command != j.Label {
		head += ": " + command
	}
	b.WriteString(clean(head, textWidth) + "\n")
	b.WriteString(clean("  "+join(", ", with("run time ", r.Job.RunTime, "s", ""), ending(r), prefixed("on ", string(r.Job.Host))), textWidth) + "\n")

	cpus := &r.Resources.CPUs
	line("CPU", spark(j.rates("cpu_user_s", "cpu_system_s")), join(", ", used(cpus, "", " CPUs")+with(" (", share(cpus), "%", ")"), with("time ", r.CPU.Total, "s", "")))
	memory, name := &r.Levels.RSS, "rss_kb"
	if r.Levels.PSS.Max.OK {
		memory, name = &r.Levels.PSS, "pss_kb"
	}
	line("memory", spark(j.values(name)), join(", ", prefixed("peak ", used(&r.Resources.Memory, "KB", "")), with("mean ", memory.Avg, "KB", "")))
	line("processes", spark(j.values("processes")), join(", ", with("peak ", r.Levels.Processes.Max, "count", ""), with("threads ", r.Levels.Threads.Max, "count", "")))
	t := &r.Totals
	line("read", spark(j.rates("rchar_bytes")), total(&t.RChar, "bytes"))
	line("written", spark(j.rates("wchar_bytes")), total(&t.WChar, "bytes"))
	shared := ""
	if t.NetShared != nil && *t.NetShared {
		shared = " (whole host)"
	}
	line("network", spark(j.rates("rx_bytes", "tx_bytes")), join(", ", with("in ", t.Rx.Total, "bytes", ""), with("out ", t.Tx.Total, "bytes", shared)))
}

// prefixed returns a text after another one, empty if it is.
func prefixed(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// used describes a resource in one place: "2.3 of 4 CPUs".
func used(x *jobrecord.Resource, unit, suffix string) string {
	of := x.Requested
	if !of.OK {
		of = x.Allocated
	}
	if !x.Used.OK || !of.OK {
		return with("", x.Used, unit, suffix)
	}
	return show(x.Used, unit) + " of " + show(of, unit) + suffix
}

// share returns the efficiency in percent of the same denominator.
func share(x *jobrecord.Resource) procinfo.Value {
	if x.Requested.OK {
		return x.EfficiencyRequested
	}
	return x.EfficiencyAllocated
}

// spark returns points as a line of sparkWidth characters, which are equal parts of the
// time: the greatest value of each, with the one before it.
func spark(points []graph.Point) string {
	if len(points) == 0 {
		return ""
	}
	part := points[len(points)-1].Time.Sub(epoch) / sparkWidth
	values := make([]float64, sparkWidth)
	k := 0
	for i := range values {
		values[i] = math.NaN()
		from := time.Duration(i) * part
		for k+1 < len(points) && points[k+1].Time.Sub(epoch) <= from {
			k++
		}
		for m := k; m < len(points) && (m == k || points[m].Time.Sub(epoch) < from+part); m++ {
			if v := points[m].Value; !math.IsNaN(v) && !(values[i] >= v) {
				values[i] = v
			}
		}
	}
	return graph.Text(values, sparkWidth)
}
