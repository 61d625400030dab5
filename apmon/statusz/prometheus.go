package statusz

import (
	"bytes"
	"cmp"
	"iter"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/procinfo"
)

// exposition is Prometheus's text format 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/
type exposition struct {
	bytes.Buffer
	used map[string]bool
}

// The types of metrics.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// family begins a metric and returns its name: that of a counter ends in "_total", and a name
// already in use gets a number.
func (e *exposition) family(name, typ, help string) string {
	suffix := ""
	if typ == counter {
		suffix = "_total"
	}
	unique := name + suffix
	for i := 2; e.used[unique]; i++ {
		unique = name + "_" + strconv.Itoa(i) + suffix
	}
	e.used[unique] = true
	e.WriteString("# HELP " + unique + " " + escapeHelp.Replace(strings.ToValidUTF8(help, "\ufffd")) + "\n# TYPE " + unique + " " + typ + "\n")
	return unique
}

// sample writes a value of a family with labels, in pairs of name and value.
func (e *exposition) sample(family string, v float64, labels ...string) {
	e.WriteString(family)
	for i := 0; i < len(labels); i += 2 {
		e.WriteByte("{,"[min(i, 1)])
		e.WriteString(labels[i] + `="` + escapeLabel.Replace(strings.ToValidUTF8(labels[i+1], "\ufffd")) + `"`)
	}
	if len(labels) > 0 {
		e.WriteByte('}')
	}
	e.WriteString(" " + number(v) + "\n")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// one writes a family of one value.
func (e *exposition) one(name, typ, help string, v float64) {
	e.sample(e.family(name, typ, help), v)
}

// The bounds of buckets are powers of two, which are bounds of our histograms: for times in ms
// from 1/16 ms to 2 minutes, for others the whole range. They are always the same, since a new
// bucket would be a new series.
const (
	leastTime, mostTime   = -4, 17
	leastOther, mostOther = -10, 30
)

// buckets writes values as a histogram: their buckets, their sum in the unit of the buckets,
// and the factor to the unit of the family.
func (e *exposition) buckets(name, help string, buckets iter.Seq2[float64, uint64], sum, scale float64) {
	family := e.family(name, histogram, help)
	low, high := leastOther, mostOther
	if scale == baseUnits["ms"].scale {
		low, high = leastTime, mostTime
	}
	n := uint64(0)
	for upper, more := range buckets {
		for ; low <= high && upper > math.Ldexp(1, low); low++ {
			e.sample(family+"_bucket", float64(n), "le", number(math.Ldexp(scale, low)))
		}
		n += more
	}
	for ; low <= high; low++ {
		e.sample(family+"_bucket", float64(n), "le", number(math.Ldexp(scale, low)))
	}
	e.sample(family+"_bucket", float64(n), "le", "+Inf")
	e.sample(family+"_sum", sum*scale)
	e.sample(family+"_count", float64(n))
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (p *Page) writePrometheus() []byte {
	e := &exposition{used: map[string]bool{}}
	e.process(metrics.ReadProcess())
	st := p.reg.Stats()
	e.one("apmon_metrics_ignored", counter, "Values that are not numbers, and parameters of functions that cannot be sent.", float64(st.Ignored))
	e.one("apmon_metrics_panics", counter, "Panics of functions.", float64(st.Panics))
	if p.opt.Client != nil {
		e.sender(p.opt.Client.Stats())
	}
	if p.opt.HTTP != nil {
		e.http(p.opt.HTTP.Snapshot())
	}
	totals, _ := p.reg.Totals() // the JSON page shows the error
	for i := range totals {
		e.metric(&totals[i])
	}
	return e.Bytes()
}

// metric writes a metric of the program.
func (e *exposition) metric(t *metrics.Total) {
	help := cmp.Or(t.Help, "The "+t.Kind.String()+" "+t.Name+" of the program.")
	name, scale := metricName(t.Name, t.Unit)
	switch t.Kind {
	case metrics.KindCounter:
		e.one(name, counter, help, t.Value*scale)
	case metrics.KindMeasure:
		if t.Unit == "" && scale == 1 && t.Value == 0 && empty(t.Buckets) {
			return // its unit, and with it its name, is known when a timer is started
		}
		e.buckets(name, help, t.Buckets, t.Value, scale)
	case metrics.KindCache:
		e.one(name+"_hits", counter, help+" Accesses that it served.", t.Value)
		e.one(name+"_misses", counter, help+" Accesses that it did not serve.", t.Misses)
	case metrics.KindFunc:
		e.one(name, gauge, cmp.Or(t.Help, "A function of the program adds "+t.Name+"."), t.Value*scale)
	default:
		e.one(name, gauge, help, t.Value*scale)
	}
}

func empty(buckets iter.Seq2[float64, uint64]) bool {
	for range buckets {
		return false
	}
	return true
}

// http writes the requests of a server.
func (e *exposition) http(s httpstats.Snapshot) {
	family := e.family("http_requests", counter, "Requests that have ended, by status, method and pattern of http.ServeMux.")
	for _, r := range s.Routes {
		e.sample(family, float64(r.Count), "code", strconv.Itoa(r.Status), "method", r.Method, "route", r.Pattern)
	}
	e.buckets("http_request_duration_seconds", "Time from the beginning of a request to its end.", s.Buckets, s.Seconds*1e3, 1e-3)
	e.one("http_requests_in_flight", gauge, "Requests in progress.", float64(s.InProgress))
	e.one("http_requests_in_flight_peak", gauge, "Most requests in progress at once.", float64(s.Peak))
	e.one("http_response_bytes", counter, "Bytes of bodies sent.", float64(s.Bytes))
	e.one("http_requests_local", counter, "Requests begun from this machine.", float64(s.Localhost))
	e.one("http_requests_private", counter, "Requests begun from private networks and from this machine.", float64(s.Private))
}

// startTime is the start of the process in seconds since 1970. It is computed once, since a change
// of it means a restart.
var startTime = sync.OnceValue(func() procinfo.Value {
	up := metrics.ReadProcess().Uptime
	return procinfo.Value{OK: up.OK, V: math.Round(1e3*(float64(time.Now().UnixMilli())/1e3-up.V)) / 1e3}
})

// process writes the values of the process, under the names that the Prometheus libraries
// use if they have one.
func (e *exposition) process(p metrics.Process) {
	for _, m := range []struct {
		name, typ, help string
		value           procinfo.Value
	}{
		{"process_start_time_seconds", gauge, "Start of the process in seconds since 1970.", startTime()},
		{"process_resident_memory_bytes", gauge, "Resident memory.", p.RSS},
		{"process_virtual_memory_bytes", gauge, "Virtual memory.", p.VSZ},
		{"process_open_fds", gauge, "Open file descriptors.", p.OpenFiles},
		{"process_threads", gauge, "Threads.", p.Threads},
		{"process_cpu_user_seconds", counter, "CPU time in user mode.", p.UserTime},
		{"process_cpu_system_seconds", counter, "CPU time in the kernel.", p.SystemTime},
		{"go_goroutines", gauge, "Goroutines.", p.Goroutines},
		{"go_heap_objects_bytes", gauge, "Objects on the heap, including those not yet swept.", p.Heap},
	} {
		if m.value.OK {
			e.one(m.name, m.typ, m.help, m.value.V)
		}
	}
}

// sender writes the statistics of a client.
func (e *exposition) sender(s apmon.Stats) {
	e.one("apmon_messages", counter, "Messages passed to the destinations.", float64(s.Messages))
	e.one("apmon_rate_limited", counter, "Messages over the rate limit.", float64(s.RateLimited))
	e.one("apmon_no_destination", counter, "Messages not sent since no destination had an address.", float64(s.NoDestination))
	e.one("apmon_bad_parameters", counter, "Parameters left out of their messages.", float64(s.BadParameters))
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
			family := e.family("apmon_destination_"+m.name, counter, m.help)
			for i := range s.Destinations {
				e.sample(family, float64(m.value(&s.Destinations[i])), "destination", s.Destinations[i].Name)
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
			family := e.family("apmon_"+m.name, counter, m.help)
			for _, name := range names {
				e.sample(family, float64(sums[name][i]), "source", name)
			}
		}
	}
}
