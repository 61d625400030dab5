package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
	"weak"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/histogram"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// Reader reads a registry. Rates, extremes and other values "since the last report" are
// since this reader last read. Make one with [Registry.NewReader]. It is an
// [apmon.Source] and safe for concurrent use.
type Reader struct {
	r *Registry
	// The registry's reading guards the fields below.
	last time.Time
	seen []seen // by the number of the entry
}

// seen is the state of a metric at the last read of a reader.
type seen struct {
	span         // cut by other readers since
	total, other int64
	sum          float64           // of a Sum
	values       *histogram.Reader // of a measure
}

// Value is one parameter of a reading.
type Value struct {
	apmon.Param        // as sent
	Metric      string // the name of the metric; for functions and the process that of the parameter
	Kind        Kind
	Row                // with the unit of the measured values, if it is known
	Help        string // of the metric, see [Registry.Describe]
}

// NewReader returns a reader whose first period begins now.
func (r *Registry) NewReader() *Reader {
	rd := &Reader{r: r}
	r.reading.Lock()
	defer r.reading.Unlock()
	r.readers = append(r.readers, weak.Make(rd))
	rd.read(nil)
	return rd
}

// Read returns the known parameters, each once. It waits at most 5 s for functions. The
// error joins [Registry.Err] and the errors of functions; the values are valid in any
// case.
func (rd *Reader) Read() ([]Value, error) { return rd.readAll(context.Background()) }

// readAll is Read with a context that bounds the wait for functions.
func (rd *Reader) readAll(ctx context.Context) ([]Value, error) {
	r := rd.r
	r.mu.RLock()
	n, probe, funcs := len(r.entries), r.probe, r.funcs
	r.mu.RUnlock()
	values := make([]Value, 0, 4*n+len(processRows))
	r.reading.Lock()
	values = rd.read(values)
	r.reading.Unlock()
	if probe != nil {
		p := ReadProcess()
		values = p.append(values, r.sends)
	}
	return r.callFuncs(ctx, funcs, values)
}

// callFuncs appends the parameters of the functions.
func (r *Registry) callFuncs(ctx context.Context, funcs []*function, values []Value) ([]Value, error) {
	if len(funcs) == 0 {
		return values, r.Err()
	}
	errs := []error{r.Err()}
	calls := make([]*call, len(funcs))
	for i, f := range funcs {
		calls[i] = f.begin(func() { r.panics.Add(1) })
	}
	added := map[string]bool{}
	for i, f := range funcs {
		params, err := f.wait(ctx, calls[i])
		var bad error
		values, bad = r.take(params, values, added)
		errs = append(errs, bad, err)
	}
	return values, errors.Join(errs...)
}

// Collect appends the known parameters, as an [apmon.Source].
func (rd *Reader) Collect(ctx context.Context, params []apmon.Param) ([]apmon.Param, error) {
	values, err := rd.readAll(ctx)
	for i := range values {
		params = append(params, values[i].Param)
	}
	return params, err
}

// read appends the known parameters of the metrics and begins a new period. The caller
// holds the registry's reading.
func (rd *Reader) read(values []Value) []Value {
	r := rd.r
	others := r.others(rd)
	r.mu.RLock()
	entries := r.entries
	r.mu.RUnlock()
	now := time.Now()
	p := period{seconds: now.Sub(rd.last).Seconds()}
	if p.seconds <= 0 {
		now = rd.last // no time has passed: count the changes in the next rate
	}
	for i, e := range entries {
		s := rd.at(i)
		p.age = now.Sub(e.made).Seconds()
		switch m := e.metric.(type) {
		case *Counter:
			total := m.Total()
			p.total, p.delta = float64(total), float64(total-s.total)
			if now != rd.last {
				s.total = total
			}
		case *Sum:
			p.total = m.Total()
			p.delta = p.total - s.sum
			if now != rd.last {
				s.sum = p.total
			}
		case *Cache:
			hits, misses := m.hits.total(), m.misses.total()
			p.absHits, p.absMisses = float64(hits), float64(misses)
			p.hits, p.misses = float64(hits-s.total), float64(misses-s.other)
			s.total, s.other = hits, misses
		case *Gauge:
			cut := addTo(others, i, m.cut())
			p.span, s.span = s.span, empty
			p.add(cut)
			// The present value is a value of this period and of the next.
			if p.value = m.load(); !math.IsNaN(p.value) {
				s.min, s.max = p.value, p.value
				p.add(s.span)
			}
		case *Measure:
			cut := addTo(others, i, m.cut())
			p.span, s.span = s.span, empty
			p.add(cut)
			p.percentiles = s.percentiles(m, &p.span, &r.window)
		}
		about := r.description(e)
		rows := tables[e.kind]
		for j := range rows {
			if v := rows[j].get(&p); v-v == 0 {
				values = append(values, Value{xdr.Float(e.params[j], v), e.name, e.kind, rows[j].Row, about.help})
				if values[len(values)-1].Unit == "" {
					values[len(values)-1].Unit = about.unit
				}
			}
		}
	}
	rd.last = now
	return values
}

// percentiles are those that a measure reports.
var percentiles = [3]float64{.5, .9, .99}

// percentiles returns the percentiles of the values of a measure since the last call. Minimum
// and maximum, which are exact, limit them.
func (s *seen) percentiles(m *Measure, of *span, w *histogram.Window) (found [3]float64) {
	if s.values == nil {
		s.values = new(histogram.Reader) // a measure had no values when it was made
	}
	s.values.Next(&m.values, w)
	for i, q := range percentiles {
		found[i] = math.NaN()
		switch {
		case of.cnt > 0 && w.Count() > 0:
			found[i] = min(max(w.Quantile(q), of.min), of.max)
		case of.cnt > 0: // the previous period has the histogram's part of an Observe under way
			found[i] = of.sum / of.cnt
		}
	}
	return found
}

// at returns the state of the i-th metric.
func (rd *Reader) at(i int) *seen {
	for len(rd.seen) <= i {
		rd.seen = append(rd.seen, seen{span: empty}) // a counter was 0 when it was made
	}
	return &rd.seen[i]
}

// addTo adds cut, the values of metric i since the last cut, to those of other readers, and
// returns cut.
func addTo(others []*Reader, i int, cut span) span {
	for _, o := range others {
		o.at(i).add(cut)
	}
	return cut
}

// others returns the readers except one. It drops the readers that the program no longer
// references. The caller holds r.reading.
func (r *Registry) others(but *Reader) (others []*Reader) {
	kept := r.readers[:0]
	for _, w := range r.readers {
		if rd := w.Value(); rd != nil {
			kept = append(kept, w)
			if rd != but {
				others = append(others, rd)
			}
		}
	}
	clear(r.readers[len(kept):])
	r.readers = kept
	return others
}

// take appends the valid parameters of a function. Added holds the names of the
// parameters of all functions so far.
func (r *Registry) take(params []apmon.Param, values []Value, added map[string]bool) (all []Value, err error) {
	for _, p := range params {
		if p.Type() != xdr.TypeString {
			p = xdr.Float(p.Name, p.Float())
		}
		e := p.Check()
		if e == nil && (added[p.Name] || r.sends(p.Name) != "") {
			e = fmt.Errorf("parameter %s is sent already", safetext.Quote(p.Name))
		}
		if e != nil {
			r.ignored.Add(1)
			if err == nil { // keep one, to identify the function
				err = fmt.Errorf("metrics: function: %w", e)
			}
			continue
		}
		added[p.Name] = true
		about := r.described(p.Name)
		values = append(values, Value{Param: p, Metric: p.Name, Row: Row{Unit: about.unit, Meaning: "added by a function"}, Help: about.help})
	}
	return values, err
}

// sends returns the metric that sends a parameter of this name, empty for none.
func (r *Registry) sends(param string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sent[param]
}
