package apmon

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/procinfo"
)

// nodeName names a node of a cluster.
type nodeName struct{ cluster, node string }

// host reports on this host: one task for each group of report options.
type host struct {
	reporter   *reporter
	benchmarks *benchmarks
	processes  *procinfo.Processes             // shared with the jobs
	self       func(ms float64) *procinfo.Self // the sender's own statistics; ms is the duration of a sample
	names      atomic.Pointer[nodeName]        // of the reports

	mu    sync.Mutex
	begun bool
	want  []*group
	tasks map[*group]*schedule.Task
}

// init prepares a host whose reports have the given names.
func (h *host) init(r *reporter, b *benchmarks, names nodeName) {
	h.reporter, h.benchmarks, h.tasks = r, b, map[*group]*schedule.Task{}
	h.names.Store(&names)
}

// begin starts the reports and takes the first samples. It returns whether this is
// the first call.
func (h *host) begin() (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, h.begun = !h.begun, true
	h.regroup()
	return first
}

// follow changes the tasks to those of a new configuration.
func (h *host) follow(gs *groups) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.want = gs.wanted
	h.regroup()
}

// regroup adds and removes tasks. The caller holds the mutex.
func (h *host) regroup() {
	if !h.begun {
		return
	}
	for g, t := range h.tasks {
		if !slices.Contains(h.want, g) {
			h.reporter.schedule.Remove(t)
			delete(h.tasks, g)
		}
	}
	for _, g := range h.want {
		if h.tasks[g] == nil && g.host() {
			h.tasks[g] = h.add(g)
		}
	}
}

// add adds the task that reports to one group.
func (h *host) add(g *group) *schedule.Task {
	r := &hostReport{host: h, group: g, info: procinfo.NewHost(procinfo.DefaultFS(os.Getenv))}
	r.info.Processes = h.processes
	t := &schedule.Task{
		Name:     strings.TrimSpace("host " + g.source),
		Interval: orDefault(g.opts.SysInterval),
		Close:    func() { r.info.Close() },
	}
	if g.opts.SysMonitoring.Or(true) {
		t.Prime = func() { r.sample() }
	}
	t.Run = h.reporter.run(t, route{to: g.tag}, r)
	h.reporter.schedule.Add(t)
	return t
}

// hostReport is the [Messenger] that reports on the host to one group.
type hostReport struct {
	host    *host
	group   *group
	info    *procinfo.Host
	reports int
	params  []Param
}

// sample measures the host, and returns how long that took, in ms.
func (r *hostReport) sample() float64 {
	start := time.Now()
	r.host.reporter.notRead(r.info.Sample(r.group.choose))
	return time.Since(start).Seconds() * 1000
}

func (r *hostReport) Messages(ctx context.Context, send func(Message) error) error {
	g := r.group
	params := r.params[:0]
	if g.opts.SysMonitoring.Or(true) {
		ms := r.sample()
		params = r.info.System.Append(params, g.choose)
		if g.opts.Self.Or(true) {
			params = r.host.self(ms).Append(params, g.choose)
		}
	}
	// General values, which seldom change, are in every second report.
	if g.opts.GeneralInfo.Or(true) && (r.reports%2 == 0 || schedule.OnDemand(ctx)) {
		r.info.Factors = r.host.benchmarks.get()
		general, err := r.info.General()
		r.host.reporter.notRead(err)
		params = general.Append(params, g.choose)
	}
	r.reports++
	r.params = params
	to := r.host.names.Load()
	return send(Message{Cluster: to.cluster, Node: to.node, Params: params})
}
