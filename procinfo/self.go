package procinfo

import (
	"sync"

	"github.com/apmon-go/apmon/xdr"
)

// Self holds values of the reporting program, which the program sets. [SelfRSS] returns RSS.
type Self struct {
	Sent, Dropped, Errors Value // since the start
	SampleMS              Value // ms, time that the last sample of the host took
	RSS                   Value // KiB, resident memory
}

// Append appends the parameters that are chosen and known.
func (s *Self) Append(params []xdr.Param, choose Choice) []xdr.Param {
	return appendRows(selfRows(), s, params, choose)
}

var selfRows = sync.OnceValue(func() []row[Self] {
	num := func(name, unit, meaning, source string, get func(*Self) Value) row[Self] {
		return row[Self]{Metric: Metric{Category: "self", Option: "self", Name: name, Unit: unit, Meaning: meaning, Source: source}, num: get}
	}
	const own = "its own counters"
	return []row[Self]{
		num("apmon_sent", "count", "datagrams sent, to all destinations, since the start", own, func(s *Self) Value { return s.Sent }),
		num("apmon_dropped", "count", "datagrams that could not be sent, messages over the rate limit, reports skipped", own, func(s *Self) Value { return s.Dropped }),
		num("apmon_errors", "count", "refused datagrams, bad parameters, failed reports, look-ups and readings of the configuration", own, func(s *Self) Value { return s.Errors }),
		num("apmon_sample_ms", "ms", "time that the sample of the host took", own, func(s *Self) Value { return s.SampleMS }),
		num("apmon_rss", "KB", "resident memory of the reporting program", "/proc/self/statm", func(s *Self) Value { return s.RSS }),
	}
})
