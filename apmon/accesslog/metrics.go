package accesslog

import (
	"math"
	"strings"
	"sync"

	"github.com/apmon-go/apmon/apmon"
)

// percentiles are those of durations.
var percentiles = [...]struct {
	suffix string
	share  float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}

// Metric describes a parameter of the reports.
type Metric struct {
	// Name is the name of the parameter. N stands for the rank, from 1, of a client or
	// URL of [Options].Top.
	Name string
	// Unit is such as "bytes/s"; it is empty for text.
	Unit string
	// Meaning is one sentence without a full stop.
	Meaning string
	// Own is true for a parameter of the log itself, on the node Options.Host.
	Own bool
}

// perStream are the parameters of a stream in a window of s seconds. A value that is NaN is
// not sent.
var perStream = sync.OnceValue(func() []streamMetric {
	table := []streamMetric{
		{"client_count", "count", "distinct clients in the window, by address and user agent", func(s *sum, _ float64) float64 { return s.clients }},
		{"bytes_sent", "bytes", "bytes sent in the window", func(s *sum, _ float64) float64 { return s.bytes }},
		{"bytes_sent_R", "bytes/s", "bytes sent per second of the window", func(s *sum, length float64) float64 { return s.bytes / length }},
		{"requests", "count", "requests in the window", func(s *sum, _ float64) float64 { return s.requests }},
		{"requests_R", "1/s", "requests per second of the window", func(s *sum, length float64) float64 { return s.requests / length }},
		{"window", "s", "length of the window", func(_ *sum, length float64) float64 { return length }},
	}
	for i, class := range []string{"2xx", "3xx", "4xx", "5xx"} {
		table = append(table, streamMetric{"status_" + class, "count", "requests in the window with a status " + class + ", also if it is not counted in requests", func(s *sum, _ float64) float64 { return s.classes[i] }})
	}
	for kind, name := range []string{"request_time", "upstream_response_time"} {
		of := []string{"of a request", "of the servers behind this one"}[kind]
		for i, p := range percentiles {
			table = append(table, streamMetric{name + "_" + p.suffix, "ms", "time " + of + " that " + p.suffix[1:] + " % of the requests did not exceed, within 2 %; absent if the log has no times", func(s *sum, _ float64) float64 { return s.took[kind][i] }})
		}
	}
	return table
})

type streamMetric struct {
	name, unit, meaning string
	value               func(s *sum, length float64) float64
}

// perLog are the parameters of the log itself.
var perLog = []struct {
	name, meaning string
	value         func(o *own) float64
}{
	{"unmatched", "lines with a URL of no stream, or of an undeclared one", func(o *own) float64 { return o.unmatched }},
	{"late", "lines whose window was closed already", func(o *own) float64 { return o.late }},
	{"bad_lines", "lines that are malformed, over 64 KiB, or ahead of the clock", func(o *own) float64 { return o.bad }},
	{"windows_lost", "windows without an input, or that were never reported", func(o *own) float64 { return o.lost }},
	{"truncated", "truncations of the file: some lines may be lost", func(o *own) float64 { return o.truncated }},
}

// Metrics returns all parameters in the order in which they are sent.
func Metrics() []Metric {
	var all []Metric
	for _, m := range perStream() {
		all = append(all, Metric{Name: m.name, Unit: m.unit, Meaning: m.meaning})
	}
	for _, m := range perLog {
		all = append(all, Metric{m.name, "count", m.meaning, true})
	}
	for _, what := range []string{"client", "url"} {
		name := map[string]string{"client": "address of a client", "url": "URL, without its query,"}[what]
		all = append(all,
			Metric{"top_" + what + "_N", "", name + " with the N-th most bytes of the window; with a top only", true},
			Metric{"top_" + what + "_N_bytes", "bytes", "bytes sent to or for it in the window, at least", true})
	}
	return all
}

// Markdown returns the parameters as tables for the documentation.
func Markdown() string {
	var b strings.Builder
	for _, own := range []bool{false, true} {
		heading := "## On the node of each stream, or of the whole site"
		if own {
			heading = "\n## On the node of the log, HOST"
		}
		b.WriteString(heading + "\n\n| sent as | unit | meaning |\n|---|---|---|\n")
		for _, m := range Metrics() {
			if m.Own == own {
				b.WriteString("| " + m.Name + " | " + m.Unit + " | " + m.Meaning + " |\n")
			}
		}
	}
	return b.String()
}

// params returns the parameters of a stream.
func (s *sum) params(length float64, tags []apmon.Param) []apmon.Param {
	params := make([]apmon.Param, 0, len(perStream())+len(tags))
	for _, m := range perStream() {
		if v := m.value(s, length); !math.IsNaN(v) {
			params = append(params, apmon.Float(m.name, v))
		}
	}
	return append(params, tags...)
}

// params returns the parameters of the log itself.
func (r *result) params(tags []apmon.Param) []apmon.Param {
	var params []apmon.Param
	for _, m := range perLog {
		params = append(params, apmon.Float(m.name, m.value(&r.own)))
	}
	for _, t := range r.top {
		params = append(params, apmon.String(t.param, t.name), apmon.Float(t.param+"_bytes", t.bytes))
	}
	return append(params, tags...)
}
