package apmon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// group is the destinations whose sources want the same reports, so that one
// collection serves them all. It stays the same one over reloads.
type group struct {
	opts   conf.Options
	source string // the first that asked for them
}

// groupOf returns the group for the options of a source: one of those there
// are, or a new one.
func groupOf(source string, o conf.Options, there ...[]*group) *group {
	// What has no say in reports shall not part groups.
	o.LogLevel, o.MaxMsgRate, o.Recheck, o.RecheckInterval, o.AccessLog, o.Own = 0, 0, 0, 0, conf.AccessLog{}, nil
	for _, groups := range there {
		for _, g := range groups {
			if g.opts.Equal(o) {
				return g
			}
		}
	}
	return &group{o, source}
}

// optIn are the options that are off unless a configuration says on.
var optIn = sync.OnceValue(func() map[string]bool {
	off := map[string]bool{}
	for _, m := range procinfo.Metrics() {
		if m.OptIn {
			off[m.Option] = true
		}
	}
	return off
})

// choose is the [procinfo.Choice] of the group's options.
func (g *group) choose(option string) (on bool, spelled string) {
	if p, ok := g.opts.Params[option]; ok {
		return p.On, p.Name
	}
	return !optIn()[option], ""
}

// begin starts the monitoring of the host. The caller holds m.mu.
func (m *monitor) begin() {
	if !m.begun {
		m.begun = true
		m.regroup()
	}
}

// reload follows a change of the client's set.
func (m *monitor) reload() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.regroup()
	m.rearm()
}

// regroup makes the tasks of the host and of the jobs those of the groups in
// force. The caller holds m.mu.
func (m *monitor) regroup() {
	groups := m.c.set.Load().wanted(m.c.opt.tap != nil)
	for i := 0; i < len(m.tasks); {
		if t := m.tasks[i]; t.group != nil && !slices.Contains(groups, t.group) {
			m.removeLocked(t)
		} else {
			i++
		}
	}
	for _, g := range groups {
		host := func(t *task) bool { return t.group == g && t.job == nil }
		if m.begun && (g.opts.SysMonitoring.Or(true) || g.opts.GeneralInfo.Or(true)) && !slices.ContainsFunc(m.tasks, host) {
			m.addLocked(m.hostTask(g))
		}
		if !g.opts.JobMonitoring.Or(true) {
			continue
		}
		for _, j := range m.jobs {
			if !slices.ContainsFunc(j.tasks, func(t *task) bool { return t.group == g && !t.removed.Load() }) {
				j.tasks = slices.DeleteFunc(j.tasks, func(t *task) bool { return t.removed.Load() })
				t := m.jobTask(j, g)
				j.tasks = append(j.tasks, t)
				m.addLocked(t)
			}
		}
	}
}

// wanted returns the groups that somebody gets reports for, each once.
func (s *set) wanted(tapped bool) []*group {
	var groups []*group
	for _, g := range s.groups {
		if (tapped || slices.ContainsFunc(s.targets, func(t target) bool { return t.group == g })) && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// hostTask reports on this host to one group.
func (m *monitor) hostTask(g *group) *task {
	c := m.c
	host := procinfo.NewHost(procinfo.DefaultFS(os.Getenv))
	t := &task{name: strings.TrimSpace("host " + g.source), interval: orDefault(g.opts.SysInterval), group: g, close: func() { host.Close() }}
	system, general := g.opts.SysMonitoring.Or(true), g.opts.GeneralInfo.Or(true)
	self := system && g.opts.Self.Or(true)
	// sample returns how long it took, in ms.
	sample := func() float64 {
		start := c.now()
		host.Processes = m.scan()
		c.notRead(host.Sample(g.choose))
		return (c.now() - start).Seconds() * 1000
	}
	if system {
		t.prime = func() { sample() }
	}
	reports := 0
	var params []Param
	t.run = func(ctx context.Context, full bool) error {
		params = params[:0]
		if system {
			ms := sample()
			params = host.System.Append(params, g.choose)
			if self {
				params = c.self(ms).Append(params, g.choose)
			}
		}
		// What seldom changes goes with every second report.
		if general && (full || reports%2 == 0) {
			host.Factors = c.benchmarks()
			info, err := host.General()
			c.notRead(err)
			params = info.Append(params, g.choose)
		}
		reports++
		if t.removed.Load() {
			return nil
		}
		to := c.hostNames.Load()
		return c.sendReport(ctx, g, Message{Cluster: to.cluster, Node: to.node, Params: params})
	}
	return t
}

// scan returns the processes that the host and the jobs share.
func (m *monitor) scan() *procinfo.Processes {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.processes == nil {
		m.processes = procinfo.NewProcesses(procinfo.DefaultFS(os.Getenv))
	}
	return m.processes
}

// SetBenchmark sets the result of a benchmark, for one CPU: "ksi2k", "db12",
// "hep06" or "hs23". It is reported, and multiplies the time of jobs.
func (c *Client) SetBenchmark(name string, factor float64) error {
	for {
		old := c.factors.Load()
		var f procinfo.Factors
		if old != nil {
			f = *old
		}
		if err := f.Set(name, factor); err != nil {
			return fmt.Errorf("apmon: %w", err)
		}
		if c.factors.CompareAndSwap(old, &f) {
			return nil
		}
	}
}

func (c *Client) benchmarks() procinfo.Factors {
	if f := c.factors.Load(); f != nil {
		return *f
	}
	return procinfo.Factors{}
}

// notRead logs what of the host cannot be read: each cause comes once.
func (c *Client) notRead(err error) {
	if err != nil {
		c.opt.logger.LogAttrs(context.Background(), slog.LevelWarn, "not everything can be read, reports lack it", slog.String("error", err.Error()))
	}
}

// self is what the client says of itself; a sample of the host took ms.
func (c *Client) self(ms float64) *procinfo.Self {
	st := c.Stats()
	dropped, errs := st.RateLimited+c.counters.unsent.Load(), st.BadParameters+c.counters.refused.Load()
	for _, s := range st.Sources {
		errs += s.Failures
	}
	c.monitor.mu.Lock()
	dropped += c.monitor.gone.skipped
	errs += c.monitor.gone.failures
	c.monitor.mu.Unlock()
	for _, r := range st.Reports {
		dropped += r.Skipped
		errs += r.Failures
	}
	return &procinfo.Self{
		Sent:     procinfo.Known(float64(c.counters.sent.Load())),
		Dropped:  procinfo.Known(float64(dropped)),
		Errors:   procinfo.Known(float64(errs)),
		SampleMS: procinfo.Known(ms),
		RSS:      procinfo.SelfRSS(),
	}
}
