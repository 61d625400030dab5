package statusz

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// exposition is Prometheus's text format 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/
type exposition struct {
	bytes.Buffer
	used map[string]bool
}

// family begins a metric and returns its name: invalid characters become "_", a total ends
// in "_total" by convention, and a name already in use gets a number.
func (e *exposition) family(name string, total bool, help string) string {
	name = sanitize(name)
	typ := "gauge"
	if total {
		name, typ = strings.TrimSuffix(name, "_total")+"_total", "counter"
	}
	unique := name
	for i := 2; e.used[unique]; i++ {
		unique = name + "_" + strconv.Itoa(i)
	}
	e.used[unique] = true
	e.WriteString("# HELP " + unique + " " + escapeHelp.Replace(strings.ToValidUTF8(help, "\ufffd")) + "\n# TYPE " + unique + " " + typ + "\n")
	return unique
}

// sample writes a value of a family; label and value of the label may be empty.
func (e *exposition) sample(family, label, of string, v float64) {
	e.WriteString(family)
	if label != "" {
		e.WriteString("{" + label + `="` + escapeLabel.Replace(strings.ToValidUTF8(of, "\ufffd")) + `"}`)
	}
	e.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// one writes a family of one value.
func (e *exposition) one(name string, total bool, help string, v float64) {
	e.sample(e.family(name, total, help), "", "", v)
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// sanitize returns a name of the form [a-zA-Z_][a-zA-Z0-9_]*: colons are reserved for
// rules.
func sanitize(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name)
	if clean[0] >= '0' && clean[0] <= '9' {
		return "_" + clean
	}
	return clean
}

func (p *Page) writePrometheus() []byte {
	e := &exposition{used: map[string]bool{}}
	e.process(metrics.ReadProcess())
	values, _ := p.prometheus.Read() // the JSON page shows the error
	st := p.reg.Stats()
	e.one("apmon_metrics_ignored", true, "Values that are not numbers, and parameters of functions that cannot be sent.", float64(st.Ignored))
	e.one("apmon_metrics_panics", true, "Panics of functions.", float64(st.Panics))
	if p.opt.Client != nil {
		e.sender(p.opt.Client.Stats())
	}
	for i := range values {
		v := &values[i]
		if v.Type() == xdr.TypeString {
			continue // this format has no texts
		}
		help := v.Metric + ": " + v.Meaning
		if v.Unit != "" {
			help += " (" + v.Unit + ")"
		}
		e.one(v.Name, v.Total, help, v.Float())
	}
	return e.Bytes()
}

// process writes the values of the process, under the names that the Prometheus libraries
// use if they have one.
func (e *exposition) process(p metrics.Process) {
	for _, m := range []struct {
		name  string
		total bool
		help  string
		value procinfo.Value
	}{
		{"process_uptime_seconds", false, "Time since the process started.", p.Uptime},
		{"process_resident_memory_bytes", false, "Resident memory.", p.RSS},
		{"process_virtual_memory_bytes", false, "Virtual memory.", p.VSZ},
		{"process_open_fds", false, "Open file descriptors.", p.OpenFiles},
		{"process_num_threads", false, "Threads.", p.Threads},
		{"process_cpu_user_seconds", true, "CPU time in user mode.", p.UserTime},
		{"process_cpu_system_seconds", true, "CPU time in the kernel.", p.SystemTime},
	} {
		if m.value.OK {
			e.one(m.name, m.total, m.help, m.value.V)
		}
	}
}

// sender writes the statistics of a client.
func (e *exposition) sender(s apmon.Stats) {
	e.one("apmon_messages", true, "Messages passed to the destinations.", float64(s.Messages))
	e.one("apmon_rate_limited", true, "Messages over the rate limit.", float64(s.RateLimited))
	e.one("apmon_no_destination", true, "Messages not sent since no destination had an address.", float64(s.NoDestination))
	e.one("apmon_bad_parameters", true, "Parameters left out of their messages.", float64(s.BadParameters))
	for _, m := range []struct {
		name, help string
		value      func(*apmon.DestinationStats) uint64
	}{
		{"sent", "Datagrams that the kernel accepted.", func(d *apmon.DestinationStats) uint64 { return d.Sent }},
		{"bytes", "Bytes in these.", func(d *apmon.DestinationStats) uint64 { return d.Bytes }},
		{"unsent", "Datagrams that could not be sent.", func(d *apmon.DestinationStats) uint64 { return d.Unsent }},
		{"refused", "Refusals of earlier datagrams.", func(d *apmon.DestinationStats) uint64 { return d.Refused }},
		{"lookup_failures", "Failed look-ups of the name.", func(d *apmon.DestinationStats) uint64 { return d.LookupFailures }},
	} {
		if len(s.Destinations) > 0 {
			family := e.family("apmon_destination_"+m.name, true, m.help)
			for i := range s.Destinations {
				e.sample(family, "destination", s.Destinations[i].Name, float64(m.value(&s.Destinations[i])))
			}
		}
	}
	// Several sources may have one name: one sample has their sum.
	var names []string
	sums := map[string]*[3]uint64{}
	for _, r := range s.Reports {
		if sums[r.Name] == nil {
			sums[r.Name] = new([3]uint64)
			names = append(names, r.Name)
		}
		for i, n := range []uint64{r.Reports, r.Skipped, r.Failures} {
			sums[r.Name][i] += n
		}
	}
	for i, m := range []struct{ name, help string }{
		{"reports", "Reports made."},
		{"reports_skipped", "Reports not made since the previous one was under way."},
		{"reports_failed", "Reports that failed or were incomplete."},
	} {
		if len(names) > 0 {
			family := e.family("apmon_"+m.name, true, m.help)
			for _, name := range names {
				e.sample(family, "source", name, float64(sums[name][i]))
			}
		}
	}
}
