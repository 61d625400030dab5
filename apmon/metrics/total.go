package metrics

import (
	"context"
	"iter"
	"math"

	"github.com/apmon-go/apmon/xdr"
)

// Total is a metric since the start, for readers such as Prometheus that take differences
// themselves. Reading it affects no [Reader].
type Total struct {
	Name string
	Kind Kind
	// Unit and Help are those of [Registry.Describe]; a measure of timers has the unit "ms" always.
	Unit, Help string
	Value      float64 // of a counter, sum, gauge or function; the hits of a cache; the sum of a measure
	Misses     float64 // of a cache
	// Buckets yields the buckets of a measure that have values, in ascending order: the value
	// that none of the bucket exceeds, and their number.
	Buckets iter.Seq2[float64, uint64]
}

// Totals returns all metrics and the numbers that functions add, each once; gauges that were
// never set are left out. It waits for functions and returns errors as [Reader.Read] does.
func (r *Registry) Totals() ([]Total, error) {
	r.mu.RLock()
	entries, funcs := r.entries, r.funcs
	r.mu.RUnlock()
	totals := make([]Total, 0, len(entries))
	r.reading.Lock()
	others := r.others(nil)
	for i, e := range entries {
		about := r.description(e)
		t := Total{Name: e.name, Kind: e.kind, Unit: about.unit, Help: about.help}
		switch m := e.metric.(type) {
		case *Counter:
			t.Value = float64(m.Total())
		case *Sum:
			t.Value = m.Total()
		case *Cache:
			t.Value, t.Misses = float64(m.hits.total()), float64(m.misses.total())
		case *Gauge:
			if t.Value = m.load(); math.IsNaN(t.Value) {
				continue
			}
		case *Measure:
			addTo(others, i, m.cut())
			t.Value, t.Buckets = m.all.sum, m.values.All()
		}
		totals = append(totals, t)
	}
	r.reading.Unlock()
	values, err := r.callFuncs(context.Background(), funcs, nil)
	for i := range values {
		if v := &values[i]; v.Type() != xdr.TypeString {
			totals = append(totals, Total{Name: v.Name, Kind: KindFunc, Unit: v.Unit, Help: v.Help, Value: v.Float()})
		}
	}
	return totals, err
}
