package httpstats

import (
	"strings"
	"time"
)

// Metric describes one parameter.
type Metric struct {
	Name    string // without the prefix
	Unit    string // empty for pure numbers
	Meaning string
}

// row is a line of the table: a parameter, and a function that returns its value, or
// false if it is unknown.
type row struct {
	Metric
	get func(*sample) (value float64, ok bool)
}

// largeResource is the size in bytes above which the read ratio counts a resource.
const largeResource = 64 << 10

// rows is the table of all parameters. To add one, add a line here and the fields it needs
// to sample.
var rows = []row{
	{Metric{"current_request_count", "", "requests in progress"}, func(s *sample) (float64, bool) { return float64(s.inProgress), true }},
	{Metric{"total_request_count", "", "requests begun since the start"}, func(s *sample) (float64, bool) { return float64(s.requests), true }},
	{Metric{"request_count_peak", "", "most requests in progress at once since the start"}, func(s *sample) (float64, bool) { return float64(s.peakCount.value), true }},
	{Metric{"request_count_peak_time", "unix s", "time of that peak; absent before the first request"}, func(s *sample) (float64, bool) { return s.peakCount.time() }},
	{Metric{"mean_request_count", "", "requests in progress, mean since the last report"}, func(s *sample) (float64, bool) { return s.mean(s.busy.Seconds()) }},
	{Metric{"current_request_rate", "1/s", "requests begun in the last complete second; absent in the first second"}, func(s *sample) (float64, bool) { return float64(s.last.begun), s.whole }},
	{Metric{"mean_request_rate", "1/s", "requests begun per second since the last report"}, func(s *sample) (float64, bool) { return s.mean(float64(s.begun)) }},
	{Metric{"request_rate_peak", "1/s", "most requests begun in a complete second since the start; absent in the first second"}, func(s *sample) (float64, bool) { return float64(s.peakRate.value), s.whole }},
	{Metric{"request_rate_peak_time", "unix s", "beginning of that second; absent while the peak is 0"}, func(s *sample) (float64, bool) { return s.peakRate.time() }},
	{Metric{"total_bytes_sent", "bytes", "bytes of bodies sent since the start, including requests in progress"}, func(s *sample) (float64, bool) { return float64(s.bytes), true }},
	{Metric{"current_bitrate", "bit/s", "bits sent in the last complete second; absent in the first second"}, func(s *sample) (float64, bool) { return 8 * float64(s.last.bytes), s.whole }},
	{Metric{"mean_bitrate", "bit/s", "bits sent per second since the last report"}, func(s *sample) (float64, bool) { return s.mean(8 * float64(s.sent)) }},
	{Metric{"bitrate_peak", "bit/s", "most bits sent in a complete second since the start; absent in the first second"}, func(s *sample) (float64, bool) { return float64(s.peakBitrate.value), s.whole }},
	{Metric{"bitrate_peak_time", "unix s", "beginning of that second; absent while the peak is 0"}, func(s *sample) (float64, bool) { return s.peakBitrate.time() }},
	{Metric{"mean_read_ratio", "0 to 1", "share of the resource that was sent, mean of the requests for resources over 64 KiB that ended since the last report with 200 or 206, except HEAD; absent without such requests"}, func(s *sample) (float64, bool) { return s.ended.shares / float64(s.ended.large), s.ended.large > 0 }},
	{Metric{"resp_2xx", "", "requests that ended with status 2xx since the start"}, func(s *sample) (float64, bool) { return float64(s.classes[2]), true }},
	{Metric{"resp_3xx", "", "requests that ended with status 3xx since the start"}, func(s *sample) (float64, bool) { return float64(s.classes[3]), true }},
	{Metric{"resp_4xx", "", "requests that ended with status 4xx since the start"}, func(s *sample) (float64, bool) { return float64(s.classes[4]), true }},
	{Metric{"resp_5xx", "", "requests that ended with status 5xx since the start"}, func(s *sample) (float64, bool) { return float64(s.classes[5]), true }},
	{Metric{"duration_min", "ms", "shortest request that ended since the last report; absent without such requests"}, func(s *sample) (float64, bool) { return ms(s.least), s.ended.count > 0 }},
	{Metric{"duration_avg", "ms", "mean of the requests that ended since the last report; absent without such requests"}, func(s *sample) (float64, bool) {
		return ms(s.ended.took) / float64(s.ended.count), s.ended.count > 0
	}},
	{Metric{"duration_max", "ms", "longest request that ended since the last report; absent without such requests"}, func(s *sample) (float64, bool) { return ms(s.most), s.ended.count > 0 }},
	{Metric{"duration_p50", "ms", "median of the requests that ended since the last report, within 2 %; absent without such requests"}, func(s *sample) (float64, bool) { return s.percentiles[0], s.ended.count > 0 }},
	{Metric{"duration_p90", "ms", "90th percentile of the requests that ended since the last report, within 2 %; absent without such requests"}, func(s *sample) (float64, bool) { return s.percentiles[1], s.ended.count > 0 }},
	{Metric{"duration_p99", "ms", "99th percentile of the requests that ended since the last report, within 2 %; absent without such requests"}, func(s *sample) (float64, bool) { return s.percentiles[2], s.ended.count > 0 }},
	{Metric{"localhost_requests", "", "requests begun from loopback addresses and unix sockets, since the start"}, func(s *sample) (float64, bool) { return float64(s.localhost), true }},
	{Metric{"private_requests", "", "requests begun from private, link-local and loopback addresses and unix sockets, since the start"}, func(s *sample) (float64, bool) { return float64(s.private), true }},
	{Metric{"server_uptime", "s", "since the start"}, func(s *sample) (float64, bool) { return s.uptime.Seconds(), true }},
}

// ms returns a duration in milliseconds.
func ms(d time.Duration) float64 { return 1000 * d.Seconds() }

// mean returns a sum over the period divided by its seconds.
func (s *sample) mean(sum float64) (float64, bool) {
	return sum / s.period.Seconds(), s.period > 0
}

// time returns when the peak was reached, in Unix seconds.
func (p *peak) time() (float64, bool) { return float64(p.at.Unix()), p.value > 0 }

// Metrics returns all parameters, in the order in which they are sent. "Since the
// last report" is since the same [Reader] last read, or since the last [Stats.Collect].
func Metrics() []Metric {
	var all []Metric
	for i := range rows {
		all = append(all, rows[i].Metric)
	}
	return all
}

// Markdown returns the parameters as a table for the documentation.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| sent as | unit | meaning |\n|---|---|---|\n")
	for _, m := range Metrics() {
		b.WriteString("| " + DefaultPrefix + m.Name + " | " + m.Unit + " | " + m.Meaning + " |\n")
	}
	return b.String()
}
