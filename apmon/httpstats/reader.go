package httpstats

import (
	"context"
	"time"
	"weak"

	"github.com/apmon-go/apmon/internal/histogram"
	"github.com/apmon-go/apmon/xdr"
)

// Reader reads a [Stats]: means, extremes and percentiles are since this reader last read,
// whatever others read. It is an apmon.Source and safe for concurrent use. It holds 4 KB.
type Reader struct {
	s *Stats
	// The mutex of s guards the fields below: those of s at the last read.
	at     time.Duration
	begun  uint64
	bytes  int64
	busy   time.Duration
	ended  ending
	cut    extremes // by other readers since
	values histogram.Reader
}

// NewReader returns a reader whose first period begins now.
func (s *Stats) NewReader() *Reader {
	rd := &Reader{s: s, cut: noExtremes}
	rd.sample()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, weak.Make(rd))
	return rd
}

// Collect appends the known parameters of [Metrics]. The error is nil.
func (rd *Reader) Collect(_ context.Context, params []xdr.Param) ([]xdr.Param, error) {
	v := rd.sample()
	for i := range rows {
		if n, ok := rows[i].get(&v); ok {
			params = append(params, xdr.Float(rd.s.names[i], n))
		}
	}
	return params, nil
}

// Collect appends the known parameters of [Metrics], as a [Reader] of its own does. The error
// is nil.
func (s *Stats) Collect(ctx context.Context, params []xdr.Param) ([]xdr.Param, error) {
	return s.own.Collect(ctx, params)
}

// Value is a parameter and its value.
type Value struct {
	Metric
	Value float64
}

// Read returns the known parameters of [Metrics].
func (rd *Reader) Read() (values []Value) {
	v := rd.sample()
	for i := range rows {
		if n, ok := rows[i].get(&v); ok {
			values = append(values, Value{rows[i].Metric, n})
		}
	}
	return values
}

// sample holds all values at one time, and those of a period.
type sample struct {
	totals
	uptime     time.Duration
	inProgress int64
	whole      bool // a second is complete
	last       slot // the last complete second

	period      time.Duration
	begun       uint64
	sent        int64
	busy        time.Duration
	ended       ending
	extremes    // of the requests that ended
	percentiles [3]float64
}

// percentiles are those that are reported.
var percentiles = [3]float64{.5, .9, .99}

// sample reads all values and begins a new period.
func (rd *Reader) sample() sample {
	s := rd.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(s.now())
	v := sample{totals: s.totals, uptime: s.at, inProgress: s.inProgress, whole: s.second > 0}
	if v.whole {
		v.last = *s.slot(s.second - 1)
	}
	e := s.totals.ended
	v.period, v.begun, v.sent, v.busy = s.at-rd.at, s.requests-rd.begun, s.bytes-rd.bytes, s.busy-rd.busy
	v.ended = ending{e.count - rd.ended.count, e.took - rd.ended.took, e.large - rd.ended.large, e.shares - rd.ended.shares}
	rd.at, rd.begun, rd.bytes, rd.busy, rd.ended = s.at, s.requests, s.bytes, s.busy, e

	kept := s.readers[:0]
	for _, w := range s.readers {
		if o := w.Value(); o != nil { // the program still references it
			kept = append(kept, w)
			o.cut.add(s.cut)
		}
	}
	clear(s.readers[len(kept):])
	s.readers = kept
	rd.cut.add(s.cut) // a second time, or before it is in the list
	v.extremes, rd.cut, s.cut = rd.cut, noExtremes, noExtremes
	rd.values.Next(&s.durations, &s.counts)
	for i, q := range percentiles {
		v.percentiles[i] = min(max(s.counts.Quantile(q), ms(v.least)), ms(v.most))
	}
	return v
}
