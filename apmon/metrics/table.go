package metrics

import (
	"fmt"
	"strings"
)

// Kind is a kind of metric.
type Kind int

// The kinds. To add one: 1. add a code and its name here, 2. add its table, 3. add a case
// to [Reader.Read].
const (
	KindFunc Kind = iota // a parameter that a function has added
	KindCounter
	KindGauge
	KindMeasure
	KindCache
	KindProcess // a parameter of [Registry.AddRuntime]
	KindSum
)

// String returns the name: func, counter, gauge, measure, cache, process or sum.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

var kindNames = [...]string{"func", "counter", "gauge", "measure", "cache", "process", "sum"}

// Row describes a parameter of a kind of metric.
type Row struct {
	Suffix  string // after the name of the metric
	Unit    string // empty for the unit of the measured values
	Meaning string
	Total   bool // only goes up while the program runs
}

// row is a line of the table of a kind. Values of get that are NaN or infinite are not
// sent, such as rates over no time or the minimum of no values.
type row struct {
	Row
	get func(*period) float64
}

// period is the state of a metric for a reader.
type period struct {
	seconds      float64 // since it last read
	age          float64 // s, of the metric
	total, delta float64 // of a counter; since it last read
	hits, misses float64 // of a cache; since it last read
	absHits      float64
	absMisses    float64
	value        float64 // of a gauge
	percentiles  [3]float64
	span         // of a gauge or measure, since it last read
}

// tables are the parameters of each kind, in the order in which they are sent.
var tables = [...][]row{
	KindCounter: {
		{Row{"", "count", "total since the start", true}, func(p *period) float64 { return p.total }},
		{Row{"_R", "1/s", "rate since the last report", false}, func(p *period) float64 { return p.delta / p.seconds }},
	},
	KindGauge: {
		{Row{"", "", "value now", false}, func(p *period) float64 { return p.value }},
		{Row{"_min", "", "least value since the last report", false}, func(p *period) float64 { return p.min }},
		{Row{"_max", "", "greatest value since the last report", false}, func(p *period) float64 { return p.max }},
	},
	KindMeasure: {
		{Row{"_sum", "", "sum of the observations since the last report", false}, func(p *period) float64 { return p.sum }},
		{Row{"_cnt", "count", "observations since the last report", false}, func(p *period) float64 { return p.cnt }},
		{Row{"_avg", "", "mean since the last report; absent without observations", false}, func(p *period) float64 { return p.sum / p.cnt }},
		{Row{"_min", "", "least since the last report; absent without observations", false}, func(p *period) float64 { return p.min }},
		{Row{"_max", "", "greatest since the last report; absent without observations", false}, func(p *period) float64 { return p.max }},
		{Row{"_p50", "", "median since the last report, within 2 %; absent without observations", false}, func(p *period) float64 { return p.percentiles[0] }},
		{Row{"_p90", "", "90th percentile since the last report, within 2 %; absent without observations", false}, func(p *period) float64 { return p.percentiles[1] }},
		{Row{"_p99", "", "99th percentile since the last report, within 2 %; absent without observations", false}, func(p *period) float64 { return p.percentiles[2] }},
		{Row{"_R", "1/s", "rate of the sum since the last report", false}, func(p *period) float64 { return p.sum / p.seconds }},
		{Row{"_cnt_R", "1/s", "rate of observations since the last report", false}, func(p *period) float64 { return p.cnt / p.seconds }},
	},
	KindSum: {
		{Row{"", "", "sum since the start", false}, func(p *period) float64 { return p.total }},
		{Row{"_R", "1/s", "rate since the last report", false}, func(p *period) float64 { return p.delta / p.seconds }},
	},
	KindCache: {
		{Row{"_hits", "count", "hits since the last report", false}, func(p *period) float64 { return p.hits }},
		{Row{"_misses", "count", "misses since the last report", false}, func(p *period) float64 { return p.misses }},
		{Row{"_total", "count", "accesses since the last report", false}, func(p *period) float64 { return p.hits + p.misses }},
		{Row{"_hit_percent", "%", "hits of the accesses since the last report; absent without accesses", false}, func(p *period) float64 { return 100 * p.hits / (p.hits + p.misses) }},
		{Row{"_miss_percent", "%", "misses of the accesses since the last report; absent without accesses", false}, func(p *period) float64 { return 100 * p.misses / (p.hits + p.misses) }},
		{Row{"_hits_R", "1/s", "rate of hits since the last report", false}, func(p *period) float64 { return p.hits / p.seconds }},
		{Row{"_misses_R", "1/s", "rate of misses since the last report", false}, func(p *period) float64 { return p.misses / p.seconds }},
		{Row{"_total_R", "1/s", "rate of accesses since the last report", false}, func(p *period) float64 { return (p.hits + p.misses) / p.seconds }},
		{Row{"_abs_hits", "count", "hits since the start", true}, func(p *period) float64 { return p.absHits }},
		{Row{"_abs_misses", "count", "misses since the start", true}, func(p *period) float64 { return p.absMisses }},
		{Row{"_abs_total", "count", "accesses since the start", true}, func(p *period) float64 { return p.absHits + p.absMisses }},
		{Row{"_abs_hit_percent", "%", "hits of all accesses; absent without accesses", false}, func(p *period) float64 { return 100 * p.absHits / (p.absHits + p.absMisses) }},
		{Row{"_abs_miss_percent", "%", "misses of all accesses; absent without accesses", false}, func(p *period) float64 { return 100 * p.absMisses / (p.absHits + p.absMisses) }},
		{Row{"_abs_hits_R", "1/s", "mean rate of hits since the start", false}, func(p *period) float64 { return p.absHits / p.age }},
		{Row{"_abs_misses_R", "1/s", "mean rate of misses since the start", false}, func(p *period) float64 { return p.absMisses / p.age }},
		{Row{"_abs_total_R", "1/s", "mean rate of accesses since the start", false}, func(p *period) float64 { return (p.absHits + p.absMisses) / p.age }},
	},
}

// Markdown returns the parameters of all kinds, and those of [Registry.AddRuntime],
// as tables for the documentation.
func Markdown() string {
	var b strings.Builder
	line := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	for kind, rows := range tables {
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n| sent as | unit | meaning |\n|---|---|---|\n", kindNames[kind])
		for i := range rows {
			line("NAME"+rows[i].Suffix, rows[i].Unit, rows[i].Meaning)
		}
		b.WriteByte('\n')
	}
	b.WriteString("## process (Registry.AddRuntime)\n\n| sent as | unit | meaning | source |\n|---|---|---|---|\n")
	for i := range processRows {
		r := &processRows[i]
		line(r.name, r.Unit, r.Meaning, r.source)
	}
	line(latencyName+", _min, _max", "ms", "delay of a goroutine that is due after "+probeInterval.String()+": a gauge", "the clock")
	line(pauseName+"_sum, _cnt, …", "ms", "pauses of the garbage collector: a measure", "runtime/debug")
	return b.String()
}
