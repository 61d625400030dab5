package metrics

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// The metrics of the probe.
const (
	latencyName   = "go_sched_latency"
	pauseName     = "go_gc_pause"
	probeInterval = 100 * time.Millisecond
)

// AddRuntime adds metrics of the process: uptime, memory, CPU time, threads, open file
// descriptors, goroutines, heap (see [Process]), pauses of the garbage collector, and
// the delay of a goroutine that is due after 100 ms. For the last two it starts a
// goroutine, which [Registry.Close] ends. A second call does nothing.
//
// If another metric has one of these names already, the metric of the process is not
// reported: see [Registry.Err].
func (r *Registry) AddRuntime() {
	r.mu.Lock()
	if r.probe != nil {
		r.mu.Unlock()
		return
	}
	p := &probe{stop: make(chan struct{}), ended: make(chan struct{})}
	r.probe = p
	for i := range processRows {
		name := processRows[i].name
		if other, ok := r.sent[name]; ok {
			r.note(fmt.Errorf("metrics: AddRuntime would send %s, which is sent by %s already", name, safetext.Quote(other)))
			continue
		}
		r.sent[name] = processOwner
	}
	r.about[latencyName] = description{"ms", "Delay of a goroutine that is due after " + probeInterval.String() + "."}
	r.about[pauseName] = description{"ms", "Pauses of the garbage collector."}
	r.mu.Unlock()
	p.latency, p.pauses = r.Gauge(latencyName), r.Measure(pauseName)
	go p.run()
}

// processOwner is the name in [Registry].sent for the parameters of the process.
const processOwner = "AddRuntime"

// Close ends the goroutine of [Registry.AddRuntime], and waits for it. Other metrics keep
// working. It may be called more than once, and returns nil.
func (r *Registry) Close() error {
	r.mu.RLock()
	p := r.probe
	r.mu.RUnlock()
	if p != nil {
		p.once.Do(func() { close(p.stop) })
		<-p.ended
	}
	return nil
}

// probe measures values that need a goroutine.
type probe struct {
	latency     *Gauge   // ms
	pauses      *Measure // ms
	once        sync.Once
	stop, ended chan struct{}
}

func (p *probe) run() {
	defer close(p.ended)
	defer p.latency.unset()
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	seen := gc.NumGC
	timer := time.NewTimer(probeInterval)
	defer timer.Stop()
	for {
		asked := time.Now()
		timer.Reset(probeInterval)
		select {
		case <-timer.C:
		case <-p.stop:
			return
		}
		p.latency.Set(max(0, time.Since(asked)-probeInterval).Seconds() * 1000)
		// The runtime keeps the last 256 pauses, the latest first.
		debug.ReadGCStats(&gc)
		for i := range min(gc.NumGC-seen, int64(len(gc.Pause))) {
			p.pauses.Observe(gc.Pause[i].Seconds() * 1000)
		}
		seen = gc.NumGC
	}
}
