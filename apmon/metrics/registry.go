package metrics

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/internal/histogram"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// Registry holds metrics by name. Make one with [New]; it is safe for concurrent
// use.
type Registry struct {
	ignored, panics atomic.Uint64
	published       atomic.Bool

	mu      sync.RWMutex // guards the fields below; held briefly
	byName  map[string]*entry
	sent    map[string]string // the metric that sends a parameter, by its name
	entries []*entry          // only appended to
	funcs   []*function
	errs    []error
	probe   *probe // nil without AddRuntime
	about   map[string]description

	reading sync.Mutex // held by one reader at a time
	readers []weak.Pointer[Reader]
	window  histogram.Window // of the measure that is read; guarded by reading
}

// entry is a metric with its name.
type entry struct {
	name   string
	kind   Kind
	params []string // the names it sends, one for each line of its table
	made   time.Time
	metric any // *Counter, *Sum, *Gauge, *Measure or *Cache
}

// description is of a metric.
type description struct{ unit, help string }

// New returns an empty registry.
func New() *Registry {
	return &Registry{byName: map[string]*entry{}, sent: map[string]string{}, about: map[string]description{}}
}

// Counter returns the counter of this name; see [Registry.Err] for bad names.
func (r *Registry) Counter(name string) *Counter {
	return lookup(r, name, KindCounter, func() *Counter { return &Counter{ignored: &r.ignored} })
}

// Describe states the unit and the meaning of the values of a metric, for pages and
// Prometheus. Units are "ms", "s", "KB" (1024 bytes), "bytes" and "%"; others are shown as they
// are. A measure whose timers are used is in ms, whatever is stated.
func (r *Registry) Describe(name, unit, help string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.about[name] = description{unit, help}
}

// described returns what [Registry.Describe] has said of a name.
func (r *Registry) described(name string) description {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.about[name]
}

// description returns the description of a metric. A measure of timers is in ms.
func (r *Registry) description(e *entry) description {
	d := r.described(e.name)
	if m, ok := e.metric.(*Measure); ok && m.timed.Load() {
		d.unit = "ms"
	}
	return d
}

// Sum returns the sum of this name; see [Registry.Err] for bad names.
func (r *Registry) Sum(name string) *Sum {
	return lookup(r, name, KindSum, func() *Sum { return &Sum{ignored: &r.ignored} })
}

// Gauge returns the gauge of this name; see [Registry.Err] for bad names.
func (r *Registry) Gauge(name string) *Gauge {
	return lookup(r, name, KindGauge, func() *Gauge { return newGauge(&r.ignored) })
}

// Measure returns the measure of this name; see [Registry.Err] for bad names.
func (r *Registry) Measure(name string) *Measure {
	return lookup(r, name, KindMeasure, func() *Measure { return newMeasure(&r.ignored) })
}

// Cache returns the cache of this name; see [Registry.Err] for bad names.
func (r *Registry) Cache(name string) *Cache {
	return lookup(r, name, KindCache, func() *Cache { return new(Cache) })
}

// AddFunc adds a function that every read of the registry calls to add further
// parameters. Numbers are sent as real64. A parameter that is invalid, or has the name of
// another parameter of the same read, is ignored and counted. A panic is recovered and
// counted; parameters added before it are kept.
//
// F runs in its own goroutine, once at a time: two simultaneous reads share its
// parameters. A read waits for it until 5 s after its start. Later reads lack its
// parameters until it returns, and their error names it. Several functions run
// concurrently.
func (r *Registry) AddFunc(f func(add func(apmon.Param))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.funcs = append(r.funcs, &function{f: f})
}

// Err joins the errors of the names of metrics. It returns nil for none. Errors of invalid names
// wrap [apmon.ErrBadName].
func (r *Registry) Err() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return errors.Join(r.errs...)
}

// Stats counts incorrect input and panics of a registry since it was made.
type Stats struct {
	Ignored uint64 // values that are NaN, infinite or negative, and parameters of functions that cannot be sent
	Panics  uint64 // of functions
}

// Stats returns a copy of the counters.
func (r *Registry) Stats() Stats { return Stats{r.ignored.Load(), r.panics.Load()} }

// lookup returns the metric of this name and kind, or makes it.
func lookup[M any](r *Registry, name string, kind Kind, fresh func() *M) *M {
	r.mu.RLock()
	e := r.byName[name]
	r.mu.RUnlock()
	if e != nil {
		if m, ok := e.metric.(*M); ok {
			return m
		}
	}
	m := fresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.add(name, kind, m)
	if e = r.byName[name]; e != nil {
		if m, ok := e.metric.(*M); ok {
			return m // another goroutine has made it
		}
	}
	r.note(err)
	return m
}

// add adds a metric. The caller holds r.mu.
func (r *Registry) add(name string, kind Kind, m any) error {
	if err := xdr.CheckName(name); err != nil {
		return fmt.Errorf("metrics: %s %s: %w", kind, safetext.Quote(name), err)
	}
	if e := r.byName[name]; e != nil {
		return fmt.Errorf("metrics: %s %s is a %s already", kind, safetext.Quote(name), e.kind)
	}
	e := &entry{name: name, kind: kind, made: time.Now(), metric: m}
	for i := range tables[kind] {
		param := name + tables[kind][i].Suffix
		if err := xdr.CheckName(param); err != nil {
			return fmt.Errorf("metrics: %s %s: %w", kind, safetext.Quote(param), err)
		}
		if other, ok := r.sent[param]; ok {
			return fmt.Errorf("metrics: %s %s would send %s, which is sent by %s already", kind, safetext.Quote(name), safetext.Quote(param), safetext.Quote(other))
		}
		e.params = append(e.params, param)
	}
	for _, param := range e.params {
		r.sent[param] = name
	}
	r.byName[name] = e
	r.entries = append(r.entries, e)
	return nil
}

// maxErrors is the number of different errors that are kept.
const maxErrors = 10

// note keeps an error of a name. The caller holds r.mu.
func (r *Registry) note(err error) {
	if len(r.errs) < maxErrors && !slices.ContainsFunc(r.errs, func(e error) bool { return e.Error() == err.Error() }) {
		r.errs = append(r.errs, err)
	}
}
